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
// database, a zarr array, or a directory of them. A single array at the top is the
// whole tree; else each array is a leaf under its name in the store. Chunks that are
// not stored are all fill value, as zarr says and TensorStore and zarr-python leave
// them out.
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

// What may be filled of a store that is not known to be trusted: as a document of a
// few bytes can claim an array of any size, not much more than is stored.
const (
	hollowBytes = 256 << 20
	hollowRatio = 16
)

// breakHollow breaks the leaves that lack chunks, if these are too many to be filled
// unasked.
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
			leaves[i] = view.NewBroken(*m, zarray.AdviseFill(fmt.Errorf("%w: %d of the bytes in the store's arrays are not stored, and %d are",
				fault.ErrUnsupported, hollow, stored), true))
		}
	}
}

// hollowOf returns how many bytes of the leaf are in chunks that are not stored.
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

// documentNames are the names of the documents that describe arrays, by format.
var documentNames = map[string]int{zarr.DocumentName(2): 2, zarr.DocumentName(3): 3}

// bareDocument is a document that describes an array or a group.
type bareDocument struct {
	key  string
	text []byte // nil if it has not been read
	err  error  // why it cannot be read
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

// preferred sorts the documents, and leaves out those of format 2 of arrays that
// are described in format 3 too: what a conversion leaves, as to zarr-python.
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

// maxBareDepth is how deep groups may be nested.
const maxBareDepth = 64

// documentFiles appends the documents in the files below name. What is below
// an array is its own.
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
			if format == 3 { // which describes groups too
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

// bareLeaf returns the array that a document describes, a broken leaf if it cannot
// be read; nil for the document of a group.
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
