package handler

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/zarr"
)

// Tree is a stored pytree: what its leaves are and where their bytes lie. No
// array data has been read. It may be used by several goroutines.
type Tree struct {
	dir    *ReadDir
	leaves []storedLeaf
	byName map[string]int // of the leaves; the first of those with one name
	format string
	ocdbt  bool // in a database, else in plain files
}

// storedLeaf is a leaf with the places of its chunks, in the order of the grid.
type storedLeaf struct {
	LeafMetadata
	text   string // of a string leaf
	zarr   *zarr.Metadata
	chunks []chunk
}

// chunk is one encoded chunk: its bytes, or where they lie.
type chunk struct {
	inline []byte
	extent transfer.Extent // if inline is nil
}

func (c chunk) len() int64 {
	if c.inline != nil {
		return int64(len(c.inline))
	}
	return c.extent.Length
}

// each yields the index of every chunk in the array's grid, and the chunk.
func (l *storedLeaf) each() iter.Seq2[[]int, chunk] {
	return func(yield func([]int, chunk) bool) {
		if l.zarr == nil {
			return
		}
		next := 0
		for index := range l.zarr.Chunks() {
			if !yield(index, l.chunks[next]) {
				return
			}
			next++
		}
	}
}

// inChunk says of an error which chunk of the array it is about.
func inChunk(m *zarr.Metadata, index []int, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("chunk %s: %w", m.Key(index), err)
}

// OpenTree reads the documents and the index of the pytree in dir.
func OpenTree(ctx context.Context, dir *ReadDir) (*Tree, error) {
	doc, err := dir.ReadFile(ctx, layout.TreeFile)
	if isNotExist(err) {
		// Not as an error that says that the checkpoint does not exist.
		return nil, fmt.Errorf("%w: not a pytree: no %s in %s", fault.ErrStructure, layout.TreeFile, dir.name)
	}
	if err != nil {
		return nil, err
	}
	meta, err := layout.ParseTree(doc)
	if err != nil {
		return nil, err
	}
	o := &treeOpener{dir: dir, meta: meta, parsed: map[string]*zarr.Metadata{}}
	if err := o.readDocuments(ctx); err != nil {
		return nil, err
	}
	if err := o.openStore(ctx); err != nil {
		return nil, err
	}
	t := &Tree{dir: dir, format: o.format(), ocdbt: o.ocdbt, leaves: make([]storedLeaf, len(meta.Leaves))}
	stored := make(map[string]tree.Kind, len(meta.Leaves)) // what has bytes under a name
	for i, l := range meta.Leaves {
		name := l.Path.String()
		leaf, err := o.leaf(ctx, l, name)
		if err != nil {
			return nil, &fault.Leaf{Path: name, Err: err}
		}
		// Arrays and strings are stored apart, and empty nodes not at all.
		if kind, taken := stored[name]; taken && leaf.Kind != tree.KindEmpty && (kind == tree.KindString) == (leaf.Kind == tree.KindString) {
			return nil, &fault.Leaf{Path: name, Err: fmt.Errorf("%w: two leaves have this name, and one value", fault.ErrKeyCollision)}
		}
		if leaf.Kind != tree.KindEmpty {
			stored[name] = leaf.Kind
		}
		t.leaves[i] = leaf
	}
	slices.SortFunc(t.leaves, func(a, b storedLeaf) int { return a.Path.Compare(b.Path) })
	t.byName = make(map[string]int, len(t.leaves))
	for i, l := range slices.Backward(t.leaves) {
		t.byName[l.Path.String()] = i
	}
	return t, nil
}

// treeOpener gathers what is known of a stored pytree's leaves.
type treeOpener struct {
	dir       *ReadDir
	meta      *layout.TreeMetadata
	strings   *layout.Strings
	shardings map[string]*sharding.Sharding
	arrays    map[string]layout.ArrayMetadata
	ocdbt     bool
	values    map[string]ocdbt.Value    // of the database, by key
	parsed    map[string]*zarr.Metadata // by document: many leaves have the same
}

func (o *treeOpener) format() string {
	format, store := "zarr2", "files"
	if o.meta.Zarr3 {
		format = "zarr3"
	}
	if o.ocdbt {
		store = "ocdbt"
	}
	return store + "+" + format
}

func (o *treeOpener) readDocuments(ctx context.Context) error {
	doc, err := o.dir.readOptional(ctx, layout.StringsFile)
	if err == nil && doc != nil {
		o.strings, err = layout.ParseStrings(doc)
	}
	if err != nil {
		return err
	}
	doc, err = o.dir.readOptional(ctx, layout.ShardingFile)
	if err == nil && doc != nil {
		o.shardings, err = sharding.ParseFile(doc)
	}
	if err != nil {
		return err
	}
	return o.readArrayMetadatas(ctx)
}

// readArrayMetadatas reads the files of all processes; an array that several
// mention is described by the first.
func (o *treeOpener) readArrayMetadatas(ctx context.Context) error {
	o.arrays = map[string]layout.ArrayMetadata{}
	dir := path.Dir(layout.ArrayFile)
	infos, err := o.dir.List(ctx, dir)
	if err != nil && !isNotExist(err) {
		return err
	}
	var names []string
	for _, info := range infos {
		if !info.Dir && strings.HasPrefix(info.Name, "process_") {
			names = append(names, path.Join(dir, info.Name))
		}
	}
	if ours := layout.ArrayFile; o.dir.digests.Has(path.Join(o.dir.name, ours)) && !slices.Contains(names, ours) {
		names = append(names, ours) // to learn that it is missing
	}
	for _, name := range names {
		doc, err := o.dir.ReadFile(ctx, name)
		if err != nil {
			return err
		}
		arrays, err := layout.ParseArrays(doc)
		if err != nil {
			return err
		}
		for name, a := range arrays {
			if _, ok := o.arrays[name]; !ok {
				o.arrays[name] = a
			}
		}
	}
	return nil
}

// openStore reads the index of the database, if the arrays are in one. A tree
// without arrays has none.
func (o *treeOpener) openStore(ctx context.Context) error {
	stored := slices.ContainsFunc(o.meta.Leaves, func(l layout.TreeLeaf) bool {
		return !l.Empty && l.ValueType != layout.String
	})
	if !stored || o.meta.OCDBT != nil && !*o.meta.OCDBT {
		return nil
	}
	source := ocdbtSource{o.dir}
	db, err := ocdbt.Open(ctx, source)
	if isNotExist(err) && o.meta.OCDBT == nil {
		return nil // not a database: plain files
	}
	if isNotExist(err) {
		return fmt.Errorf("%w: %s is missing", fault.ErrCorrupt, ocdbt.ManifestName)
	}
	if err != nil {
		return err
	}
	o.ocdbt = true
	o.values = map[string]ocdbt.Value{}
	for e, err := range db.Entries(ctx, "") {
		if err != nil {
			return err
		}
		o.values[e.Key] = e.Value
	}
	return nil
}

// ocdbtSource reads a database's own files.
type ocdbtSource struct{ dir *ReadDir }

func (s ocdbtSource) Read(ctx context.Context, name string, off, n int64) ([]byte, error) {
	return transfer.ReadFile(ctx, s.dir.store, s.dir.path(), name, off, n)
}

func (s ocdbtSource) List(ctx context.Context, prefix string) ([]string, error) {
	infos, err := s.dir.List(ctx, ".")
	var names []string
	for _, info := range infos {
		if strings.HasPrefix(info.Name, prefix) {
			names = append(names, info.Name)
		}
	}
	return names, err
}

// leaf describes one leaf.
func (o *treeOpener) leaf(ctx context.Context, l layout.TreeLeaf, name string) (storedLeaf, error) {
	leaf := storedLeaf{LeafMetadata: LeafMetadata{Path: l.Path, ValueType: string(l.ValueType)}}
	switch {
	case l.Empty:
		return leaf, leaf.setEmpty(l.ValueType)
	case l.ValueType == layout.String:
		text, ok := "", false
		if o.strings != nil {
			text, ok = o.strings.Get(name)
		}
		if !ok {
			return leaf, fmt.Errorf("%w: no string in %s", fault.ErrCorrupt, layout.StringsFile)
		}
		leaf.Kind, leaf.text, leaf.Bytes, leaf.StoredBytes = tree.KindString, text, int64(len(text)), int64(len(text))
		return leaf, nil
	}
	if err := o.findArray(ctx, &leaf, name); err != nil {
		return leaf, err
	}
	m := leaf.zarr
	leaf.Kind = tree.KindArray
	leaf.DType, leaf.Shape, leaf.ChunkShape, leaf.Codecs = m.DType, m.Shape, m.ChunkShape, m.Codecs()
	n, err := array.NumElements(m.Shape)
	if err != nil {
		return leaf, fmt.Errorf("%w: %w", fault.ErrCorrupt, err)
	}
	leaf.Bytes = int64(n) * int64(m.DType.Size())
	for _, c := range leaf.chunks {
		leaf.StoredBytes += c.len()
	}
	switch {
	case l.ValueType == layout.JaxArray:
		leaf.WriteShape = l.WriteShape
		leaf.PRNGImpl = o.arrays[name].PRNGImpl
		leaf.Sharding = o.shardings[name]
		if leaf.Sharding == nil {
			leaf.Sharding = hostSharding // it stays a jax.Array when saved again
		}
	case l.ValueType == layout.Scalar || l.GoType == goComplex64 || l.GoType == goComplex128:
		leaf.Kind = tree.KindScalar
		if len(m.Shape) != 0 {
			return leaf, fmt.Errorf("%w: a scalar of shape %v", fault.ErrCorrupt, m.Shape)
		}
	case l.GoType == goBytes && m.DType == array.Uint8 && len(m.Shape) == 1:
		leaf.Kind = tree.KindBytes
	}
	return leaf, nil
}

func (l *storedLeaf) setEmpty(t layout.ValueType) error {
	l.Kind = tree.KindEmpty
	switch t {
	case layout.NoneNode:
		l.Empty = tree.None
	case layout.DictNode, "NamedTuple":
		l.Empty = tree.EmptyDict
	case layout.ListNode:
		l.Empty = tree.EmptyList
	case layout.TupleNode:
		l.Empty = tree.EmptyTuple
	default:
		return fmt.Errorf("%w: empty node of type %q", fault.ErrUnsupported, t)
	}
	return nil
}

// findArray finds an array's document and chunks.
func (o *treeOpener) findArray(ctx context.Context, leaf *storedLeaf, name string) error {
	format, docName := 2, ".zarray"
	if o.meta.Zarr3 {
		format, docName = 3, "zarr.json"
	}
	doc, err := o.value(ctx, joinKey(name, docName))
	if err != nil {
		return err
	}
	text := doc.inline
	switch {
	case text != nil:
	case o.ocdbt:
		text, err = ocdbtSource{o.dir}.Read(ctx, doc.extent.File, doc.extent.Offset, doc.extent.Length)
	default:
		text, err = o.dir.ReadFile(ctx, doc.extent.File)
	}
	if err != nil {
		return err
	}
	m := o.parsed[string(text)]
	if m == nil {
		if m, err = zarr.Parse(format, text); err != nil {
			return fmt.Errorf("%s: %w", docName, err)
		}
		o.parsed[string(text)] = m
	}
	leaf.zarr = m
	// A hostile document can claim any number of chunks: stop at the first
	// that is missing.
	for index := range m.Chunks() {
		c, err := o.value(ctx, joinKey(name, m.Key(index)))
		if err == nil {
			err = m.CheckStored(c.len())
		}
		if err != nil {
			if c.extent.File != "" {
				err = cmp.Or(transfer.CheckLFS(ctx, o.dir.store, o.dir.path(), c.extent.File), err)
			}
			return err
		}
		leaf.chunks = append(leaf.chunks, c)
	}
	return nil
}

// value finds a document or chunk by its key.
func (o *treeOpener) value(ctx context.Context, key string) (chunk, error) {
	if o.ocdbt {
		v, ok := o.values[key]
		if !ok {
			return chunk{}, fmt.Errorf("%w: %s is missing", fault.ErrCorrupt, key)
		}
		if v.Ref.File == "" {
			inline := v.Inline
			if inline == nil {
				inline = []byte{}
			}
			return chunk{inline: inline}, nil
		}
		return chunk{extent: transfer.Extent(v.Ref)}, nil
	}
	if !fs.ValidPath(key) {
		return chunk{}, fmt.Errorf("%w: file name %q leads out of the checkpoint", fault.ErrCorrupt, key)
	}
	info, err := o.dir.stat(ctx, key)
	if isNotExist(err) {
		return chunk{}, fmt.Errorf("%w: file %s is missing", fault.ErrCorrupt, key)
	}
	if err != nil {
		return chunk{}, err
	}
	return chunk{extent: transfer.Extent{File: key, Length: info.Size}}, nil
}
