package convert

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/inspect"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// Entry is the name of the entry of a safetensors file's __metadata__ with the data that
// safetensors cannot express. The package comment describes it.
const Entry = "__orbax__"

// extraVersion is the only version of the entry's document that this package reads and
// writes.
const extraVersion = 1

// extraTree is the document of the entry.
type extraTree struct {
	Version int         `json:"version"`
	Leaves  []extraLeaf `json:"leaves,omitempty"`
	Custom  any         `json:"custom,omitempty"`
}

// extraLeaf describes a leaf other than an array in nested dicts.
type extraLeaf struct {
	Keys []any  `json:"keys"` // strings and numbers
	Kind string `json:"kind,omitempty"`
	PRNG string `json:"prng,omitempty"`

	path tree.Path
}

// These are the kinds of leaves that are not arrays. The names of empty nodes are further
// kinds.
const (
	kindScalar = "scalar"
	kindString = "string"
	kindBytes  = "bytes"
)

var emptyKinds = []tree.Empty{tree.None, tree.EmptyDict, tree.EmptyList, tree.EmptyTuple}

// add lists a leaf, unless its name alone is enough.
func (e *extraTree) add(m *view.LeafMetadata) {
	l := extraLeaf{Keys: inspect.Keys(m.Path), PRNG: m.PRNGImpl}
	switch m.Kind {
	case tree.KindScalar:
		l.Kind = kindScalar
	case tree.KindString:
		l.Kind = kindString
	case tree.KindBytes:
		l.Kind = kindBytes
	case tree.KindEmpty:
		l.Kind = m.Empty.String()
	}
	if l.Kind == "" && l.PRNG == "" && slices.Equal(m.Path, nestedPath(m.Path.String(), dot)) {
		return
	}
	e.Leaves = append(e.Leaves, l)
}

// dot separates the keys in the names of leaves and of most tensors.
const dot = "."

// nestedPath returns the path for a tensor's name, divided at sep.
func nestedPath(name, sep string) tree.Path {
	var p tree.Path
	for key := range strings.SplitSeq(name, sep) {
		p = append(p, tree.Key{Name: key})
	}
	return p
}

// marshal returns the document, or "" if it would be empty.
func (e *extraTree) marshal() (string, error) {
	if len(e.Leaves) == 0 && e.Custom == nil {
		return "", nil
	}
	e.Version = extraVersion
	doc, err := layout.EncodeNumbers(e)
	return string(doc), err
}

// parseExtra parses the document and sets the paths of its leaves.
func parseExtra(text string) (*extraTree, error) {
	dec := json.NewDecoder(bytes.NewReader(layout.SpellWords([]byte(text))))
	dec.UseNumber()
	e := &extraTree{}
	err := dec.Decode(e)
	if err == nil {
		if _, end := dec.Token(); end != io.EOF {
			err = fmt.Errorf("text after its end")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: metadata entry %s: %v", orbax.ErrCorrupt, Entry, err)
	}
	e.Custom = layout.WordsIn(e.Custom)
	if e.Version != extraVersion {
		return nil, fmt.Errorf("%w: metadata entry %s is of version %d, this program knows %d", orbax.ErrUnsupported, Entry, e.Version, extraVersion)
	}
	for i := range e.Leaves {
		l := &e.Leaves[i]
		if l.path, err = pathOf(l.Keys); err != nil {
			return nil, fmt.Errorf("%w: metadata entry %s: %v", orbax.ErrCorrupt, Entry, err)
		}
		if !slices.Contains([]string{"", kindScalar, kindString, kindBytes}, l.Kind) && l.empty() < 0 {
			return nil, fmt.Errorf("%w: metadata entry %s: leaf %s of unknown kind %q", orbax.ErrUnsupported, Entry, fault.Shown(l.path.String()), l.Kind)
		}
	}
	return e, nil
}

// empty returns the index of the leaf's kind in emptyKinds, or -1 if the leaf has data.
func (l *extraLeaf) empty() int {
	return slices.IndexFunc(emptyKinds, func(e tree.Empty) bool { return e.String() == l.Kind })
}

// pathOf is the inverse of [inspect.Keys].
func pathOf(keys []any) (tree.Path, error) {
	p := make(tree.Path, len(keys))
	for i, k := range keys {
		switch k := k.(type) {
		case string:
			p[i] = tree.Key{Name: k}
		case json.Number:
			n, err := strconv.Atoi(k.String())
			if err != nil || strconv.Itoa(n) != k.String() || n < 0 {
				return nil, fmt.Errorf("key %v is not a position", k)
			}
			p[i] = tree.Key{Name: k.String(), Seq: true}
		default:
			return nil, fmt.Errorf("key %v is neither a string nor a position", k)
		}
	}
	return p, nil
}

// safetensorsFormat is the format that the metadata of a tree of safetensors files have.
const safetensorsFormat = "safetensors"
