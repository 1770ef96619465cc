package proof

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/msgpack"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

// verdict is the evidence that a document gives about its directory.
type verdict int

const (
	doubt   verdict = iota // the document is damaged, or not of the kind that its name says
	neutral                // any program may have written it
	known                  // it is intact, and another program may have written it
	proves                 // Orbax or this package wrote it
)

// checks are the documents whose names identify them, wherever they are.
var checks = map[string]func(doc []byte) verdict{
	layout.CheckpointFile:   checkpointDoc,
	layout.HandlersFile:     checkpointDoc,
	layout.DigestFile:       digestDoc,
	layout.DeletionFile:     deletionDoc,
	layout.CommitFile:       commitDoc,
	layout.IndicatorFile:    func([]byte) verdict { return doubt }, // an intact one is empty
	layout.TreeFile:         treeDoc,
	layout.ShardingFile:     shardingDoc,
	layout.StringsFile:      objectDoc,
	layout.ChunksFile:       prefixDoc(layout.ChunksHeader),
	layout.PartsFile:        partsDoc,
	layout.RootMetadataFile: objectDoc,
}

// maxDocument is the size of the largest document that is read. A larger one counts as
// damaged.
const maxDocument = 512 << 20

// document takes a document and counts its verdict. It returns its contents, or nil if
// they are not valid.
func (w *walk) document(name string, e storage.Entry, check func([]byte) verdict) ([]byte, error) {
	w.take(name, e)
	base := path.Base(name)
	w.named = w.named || isTreeFile(base) || rootCheck(base) != nil
	doc, err := w.read(name)
	if err != nil {
		return nil, err
	}
	switch {
	case doc == nil:
		w.doubtful = append(w.doubtful, name)
		return nil, nil
	case len(doc) == 0: // as a power failure leaves it; the indicator is always empty
		w.orbax = w.orbax || base == layout.IndicatorFile || base == layout.CheckpointFile
		return nil, nil
	}
	switch check(doc) {
	case proves:
		w.proven++
		w.orbax = true
		return doc, nil
	case known:
		w.proven++
		return doc, nil
	case neutral:
		return doc, nil
	}
	if w.cut && unfinished(base, doc) {
		w.orbax = w.orbax || bytes.HasPrefix(doc, []byte(`{"item_handlers":`)) // Orbax writes this member first
		return nil, nil
	}
	w.doubtful = append(w.doubtful, name)
	return nil, nil
}

// read returns a document, or nil if it cannot be read.
func (w *walk) read(name string) ([]byte, error) {
	doc, longer, err := transfer.ReadUpTo(w.ctx, w.top, name, maxDocument)
	if err == nil && !longer {
		return doc, nil // not nil, even if the document is empty
	}
	if cerr := w.ctx.Err(); cerr != nil {
		return nil, cerr
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	return nil, nil // not a file, too large, unreadable, or a link that leads nowhere
}

// unfinished reports whether a document called name may have been cut short while it was
// written, or may end in allocated space that was not filled.
func unfinished(name string, doc []byte) bool {
	switch {
	case len(bytes.Trim(doc, "\x00")) == 0:
		return true
	case name == layout.CommitFile:
		return strings.HasPrefix(commitText, string(doc))
	case layout.IsDigestFile(name):
		sum, _, _ := strings.Cut(strings.TrimPrefix(string(doc[:min(len(doc), 100)]), `\`), "  ")
		return len(sum) <= 64 && isHex(sum)
	}
	var v json.RawMessage
	err := json.NewDecoder(bytes.NewReader(layout.SpellWords(doc))).Decode(&v)
	return doc[0] == '{' && errors.Is(err, io.ErrUnexpectedEOF)
}

// members returns the members of a JSON object, or nil if doc is not one. It accepts
// Python's words for numbers that JSON lacks.
func members(doc []byte) map[string]any {
	v, err := layout.DecodeJSON(doc)
	object, _ := v.(map[string]any)
	if err != nil {
		return nil
	}
	return object
}

// objectDoc checks documents that may be any JSON object.
func objectDoc(doc []byte) verdict {
	if members(doc) == nil {
		return doubt
	}
	return neutral
}

// jsonDoc checks documents that may be any JSON value.
func jsonDoc(doc []byte) verdict {
	if _, err := layout.DecodeJSON(doc); err != nil {
		return doubt
	}
	return neutral
}

func prefixDoc(prefix string) func([]byte) verdict {
	return func(doc []byte) verdict {
		if bytes.HasPrefix(doc, []byte(prefix)) {
			return proves
		}
		return doubt
	}
}

// commitText begins the file that commits a checkpoint.
const commitText = "Checkpoint commit was successful"

var (
	commitDoc  = prefixDoc(commitText)
	placesDoc  = prefixDoc(layout.PlacesHeader)
	processDoc = prefixDoc(layout.ProcessHeader)
)

// manifestDoc checks an OCDBT manifest. The format is TensorStore's, so the manifest
// proves a database, but not which program wrote it.
func manifestDoc(doc []byte) verdict {
	if bytes.HasPrefix(doc, []byte{0x0c, 0xdb, 0x3a, 0x2a}) {
		return known
	}
	return doubt
}

func checkpointDoc(doc []byte) verdict {
	object := members(doc)
	if object == nil {
		return doubt
	}
	if len(object) == 0 {
		return neutral
	}
	if _, err := layout.ParseCheckpoint(doc); err != nil {
		return doubt
	}
	for _, name := range []string{"item_handlers", "init_timestamp_nsecs", "commit_timestamp_nsecs", "custom_metadata"} {
		if _, ok := object[name]; ok {
			return proves
		}
	}
	return doubt
}

func digestDoc(doc []byte) verdict {
	if _, err := layout.ParseDigests(doc); err != nil {
		return doubt
	}
	return proves
}

func deletionDoc(doc []byte) verdict {
	object := members(doc)
	_, id := object["operation_id"].(string)
	_, name := object["checkpointable_name"].(string)
	if id && name {
		return proves
	}
	return doubt
}

func partsDoc(doc []byte) verdict {
	if _, ok := members(doc)["parts"].([]any); ok {
		return proves
	}
	return doubt
}

// treeDoc checks _METADATA of a tree, or of an array that is itself a checkpoint.
func treeDoc(doc []byte) verdict {
	if _, err := layout.ParseTree(doc); err == nil {
		return proves
	}
	if _, ok := members(doc)["tree_metadata"].(map[string]any); ok {
		return proves
	}
	return doubt
}

// shardingDoc checks _sharding, whose members are base64 names.
func shardingDoc(doc []byte) verdict {
	object := members(doc)
	if object == nil {
		return doubt
	}
	for name, v := range object {
		_, err := base64.URLEncoding.DecodeString(name)
		if _, ok := v.(string); err != nil || !ok {
			return doubt
		}
	}
	if len(object) == 0 {
		return neutral
	}
	return proves
}

func arrayMetadataDoc(doc []byte) verdict {
	if _, ok := members(doc)["array_metadatas"].([]any); ok {
		return proves
	}
	return doubt
}

// isMsgpack reports whether a file is a tree in MessagePack: a map with names for keys,
// to the last byte. It may be large, so it is scanned and not read as a whole. A file
// with more than maxValues values is not from Orbax or Flax.
func (w *walk) isMsgpack(name string) (bool, error) {
	f, err := transfer.Open(w.ctx, w.top, name)
	if err != nil {
		return false, w.ctx.Err()
	}
	defer f.Close()
	r := msgpack.NewReader(w.ctx, f)
	top, err := r.Next()
	if err != nil || top.Kind != msgpack.Map || top.Len == 0 {
		return false, w.ctx.Err()
	}
	seen := 0
	for left, first := 2*top.Len, true; left > 0; left-- {
		h, err := r.Next()
		if seen++; err != nil || left > r.Left()+1 || seen > maxValues || first && h.Kind != msgpack.String {
			return false, w.ctx.Err()
		}
		first = false
		switch h.Kind {
		case msgpack.Array:
			left += h.Len
		case msgpack.Map:
			left += 2 * h.Len
		default:
			r.Skip(h.Len)
		}
	}
	return r.Left() == 0, nil
}

// maxValues is the number of MessagePack values that are scanned, which takes a second.
// Each array of a tree is a few values.
const maxValues = 1 << 26

// textDoc checks documents that are text.
func textDoc(doc []byte) verdict {
	if !utf8.Valid(doc) || bytes.IndexByte(doc, 0) >= 0 {
		return doubt
	}
	return neutral
}
