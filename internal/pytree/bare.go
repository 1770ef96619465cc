package pytree

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/region"
	"github.com/go-orbax/orbax/internal/zarray"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
	"github.com/go-orbax/orbax/zarr"
)

// openBare opens a store of zarr arrays without the metadata of a tree: an OCDBT
// database, a zarr array, or a directory of zarr arrays. A single array at the top is the
// whole tree. Otherwise each array is a leaf under its name in the store. Chunks that are
// not stored have the fill value, as the zarr specification says; TensorStore and
// zarr-python leave such chunks out.
func openBare(ctx context.Context, dir *ckdir.ReadDir, options Options) (*stored, error) {
	o := newOpener(dir, Options{Fill: true})
	o.unasked = !options.Fill
	var err error
	if o.ocdbt, err = o.readDatabase(ctx); err != nil {
		return nil, err
	}
	var docs []bareDocument
	if o.ocdbt {
		docs = o.documentKeys()
	} else if docs, err = o.documentFiles(ctx, "", 0, nil); err != nil {
		return nil, err
	}
	docs = preferred(docs)
	var leaves []*view.Leaf
	formats := map[int]bool{}
	for _, doc := range docs {
		if leaf := o.bareLeaf(ctx, doc, formats); leaf != nil {
			leaves = append(leaves, leaf)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(leaves) == 0 {
		return nil, fmt.Errorf("%w: the store has no arrays", fault.ErrStructure)
	}
	if !options.Fill {
		breakHollow(leaves)
	}
	o.meta.Zarr3 = !formats[2]
	return &stored{view.New(o.format(), leaves), o}, nil
}

// These bound what is filled of a store that may not be trusted. A document of a few
// bytes can claim an array of any size, so not much more is filled than is stored.
const (
	hollowBytes = 256 << 20
	hollowRatio = 16
)

// breakHollow breaks the leaves that lack chunks, if they lack too many to be filled
// without the option Fill.
func breakHollow(leaves []*view.Leaf) {
	var stored, hollow int64
	for _, l := range leaves {
		m := l.Metadata()
		stored += m.StoredBytes
		hollow += min(hollowOf(m), math.MaxInt64-hollow)
	}
	if hollow <= hollowBytes || hollow/hollowRatio <= stored {
		return
	}
	for i, l := range leaves {
		if m := l.Metadata(); m.MissingChunks > 0 && m.Err == nil {
			leaves[i] = view.NewBroken(*m, zarray.AdviseFill(fmt.Errorf("%w: %d bytes of the store's arrays are not stored, and only %d are",
				fault.ErrUnsupported, hollow, stored), true))
		}
	}
}

// hollowOf returns the number of bytes of the leaf in chunks that are not stored.
func hollowOf(m *view.LeafMetadata) int64 {
	if m.MissingChunks == 0 {
		return 0
	}
	n, err := region.NumBytes(m.ChunkShape, m.DType.Size())
	if err != nil || n > 0 && m.MissingChunks > math.MaxInt/n {
		return m.Bytes
	}
	return min(m.Bytes, int64(n*m.MissingChunks))
}

// documentNames maps the names of documents that describe arrays to the zarr format.
var documentNames = map[string]int{zarr.DocumentName(2): 2, zarr.DocumentName(3): 3}

// bareDocument is a document that describes an array or a group.
type bareDocument struct {
	key  string
	text []byte // nil if it has not been read
	err  error  // why the document cannot be read
}

func compareKeys(a, b bareDocument) int { return strings.Compare(a.key, b.key) }

// documentKeys returns the documents in the database.
func (o *opener) documentKeys() (docs []bareDocument) {
	for _, e := range o.values.Entries {
		if documentNames[e.Key[strings.LastIndexByte(e.Key, '/')+1:]] != 0 {
			docs = append(docs, bareDocument{key: e.Key})
		}
	}
	return docs
}

// preferred sorts the documents. If an array has documents of both formats, it drops that
// of format 2, as zarr-python does: a conversion has left it.
func preferred(docs []bareDocument) []bareDocument {
	slices.SortFunc(docs, compareKeys)
	return slices.DeleteFunc(slices.Clone(docs), func(doc bareDocument) bool {
		if documentNames[path.Base(doc.key)] != 2 {
			return false
		}
		other := bareDocument{key: path.Join(path.Dir(doc.key), zarr.DocumentName(3))}
		_, both := slices.BinarySearchFunc(docs, other, compareKeys)
		return both
	})
}

// maxBareDepth is the number of levels to which groups may be nested.
const maxBareDepth = 64

// documentFiles appends the documents in the files below name. It does not look below an
// array.
func (o *opener) documentFiles(ctx context.Context, name string, depth int, docs []bareDocument) ([]bareDocument, error) {
	if depth > maxBareDepth {
		return nil, fmt.Errorf("%w: directories nested more than %d deep at %s", fault.ErrUnsupported, maxBareDepth, name)
	}
	entries, err := o.dir.List(ctx, path.Clean(name))
	if err != nil {
		return nil, err
	}
	array := false
	for _, e := range entries {
		if format := documentNames[e.Name]; format != 0 && !e.Dir {
			doc := bareDocument{key: path.Join(name, e.Name)}
			if format == 3 { // the document may describe a group
				doc.text, doc.err = o.dir.ReadFile(ctx, doc.key)
			}
			docs = append(docs, doc)
			array = array || doc.err == nil && !zarr.IsGroup(doc.text)
		}
	}
	for _, e := range entries {
		if e.Dir && !array && e.Name != layout.NotebookDir {
			if docs, err = o.documentFiles(ctx, path.Join(name, e.Name), depth+1, docs); err != nil {
				return nil, err
			}
		}
	}
	return docs, nil
}

// bareLeaf returns the array that a document describes. It returns a broken leaf if the
// array cannot be read, and nil for a document of a group.
func (o *opener) bareLeaf(ctx context.Context, doc bareDocument, formats map[int]bool) *view.Leaf {
	dir, docName := path.Split(doc.key)
	name := strings.TrimSuffix(dir, "/")
	m := view.LeafMetadata{ValueType: string(layout.NumPyArray)}
	if name != "" {
		m.Path = tree.Path{{Name: name}}
	}
	if doc.text == nil && doc.err == nil {
		doc.text, doc.err = o.readValue(ctx, "", doc.key)
	}
	if doc.err != nil {
		return view.NewBroken(m, doc.err)
	}
	if zarr.IsGroup(doc.text) {
		return nil
	}
	format := documentNames[docName]
	formats[format] = true
	a, err := o.findChunks(ctx, name, format, doc.text)
	if err := cmp.Or(a.Describe(&m), err); err != nil {
		return view.NewBroken(m, err)
	}
	leaf, err := view.NewArray(m, a)
	if err != nil {
		return view.NewBroken(m, err)
	}
	return leaf
}
