package layout

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

// maxRichDepth is how deep the document may be nested; package tree reads no
// deeper trees.
const maxRichDepth = 10000

// markTuples marks the keys of tuples in the paths of the leaves. What tells them
// from lists is the document value_metadata_tree, which Orbax writes if its option
// support_rich_types is set. Everything else in it says the rest of _METADATA too.
func (m *TreeMetadata) markTuples(doc string) error {
	tuples := map[string]bool{}
	if err := findTuples(json.RawMessage(doc), nil, tuples); err != nil {
		return fmt.Errorf("%w: %s: value_metadata_tree: %v", fault.ErrCorrupt, TreeFile, err)
	}
	if len(tuples) == 0 {
		return nil
	}
	for _, l := range m.Leaves {
		for i := range l.Path {
			l.Path[i].Tuple = l.Path[i].Seq && tuples[pathID(l.Path[:i])]
		}
	}
	return nil
}

// findTuples adds the paths of the tuples at and below a node.
func findTuples(doc json.RawMessage, at tree.Path, tuples map[string]bool) error {
	if len(at) > maxRichDepth {
		return fmt.Errorf("nested more than %d levels deep", maxRichDepth)
	}
	var list []json.RawMessage
	if json.Unmarshal(doc, &list) == nil {
		return eachTuple(list, at, tuples)
	}
	var dict map[string]json.RawMessage
	if err := json.Unmarshal(doc, &dict); err != nil {
		return err
	}
	var node struct {
		Category, Clazz string
		Entries         []json.RawMessage
	}
	if _, custom := dict["category"]; custom && json.Unmarshal(doc, &node) == nil {
		switch {
		case node.Category == "custom" && node.Clazz == "tuple":
			tuples[pathID(at)] = true
			return eachTuple(node.Entries, at, tuples)
		case node.Category == "namedtuple":
			return eachField(node.Entries, at, tuples)
		case node.Category == "custom":
			return nil // a leaf
		}
	}
	for name, kid := range dict {
		if err := findTuples(kid, append(at[:len(at):len(at)], tree.Key{Name: name}), tuples); err != nil {
			return err
		}
	}
	return nil
}

func eachTuple(list []json.RawMessage, at tree.Path, tuples map[string]bool) error {
	for i, kid := range list {
		if err := findTuples(kid, append(at[:len(at):len(at)], tree.Key{Name: strconv.Itoa(i), Seq: true}), tuples); err != nil {
			return err
		}
	}
	return nil
}

// eachField walks the fields of a named tuple, which is a dict to _METADATA.
func eachField(entries []json.RawMessage, at tree.Path, tuples map[string]bool) error {
	for _, e := range entries {
		var field struct {
			Key   string
			Value json.RawMessage
		}
		if err := json.Unmarshal(e, &field); err != nil {
			return err
		}
		if err := findTuples(field.Value, append(at[:len(at):len(at)], tree.Key{Name: field.Key}), tuples); err != nil {
			return err
		}
	}
	return nil
}

// pathID tells paths apart that have the same name.
func pathID(p tree.Path) string {
	var b []byte
	for _, k := range p {
		b = strconv.AppendQuote(b, k.Name)
	}
	return string(b)
}
