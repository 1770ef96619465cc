package handler

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// OpenTree reads the documents and the index of the pytree in dir, and no
// arrays.
//
// At the top of a path that is no checkpoint of Orbax it opens what it finds
// there: safetensors files, or a store of zarr arrays.
func OpenTree(ctx context.Context, dir *ReadDir, options OpenOptions) (*view.Tree, error) {
	if t, err := openSafetensors(ctx, dir); t != nil || err != nil {
		return t, err
	}
	t, err := openTree(ctx, dir, options)
	if err != nil {
		return nil, err
	}
	return t.Tree, nil
}

// OpenOptions say how a stored pytree is read.
type OpenOptions struct {
	// Fill takes chunks that are missing for chunks of the array's fill value,
	// which is what zarr says of them. Without it they are damage: Orbax v1 writes
	// every chunk. With it nothing that is stored justifies the size of an array.
	Fill bool
}

// storedTree is a tree as it is stored in one directory.
type storedTree struct {
	*view.Tree
	opener *treeOpener
}

func openTree(ctx context.Context, dir *ReadDir, options OpenOptions) (*storedTree, error) {
	doc, err := dir.ReadFile(ctx, layout.TreeFile)
	if isNotExist(err) && dir.name == "" { // not part of a checkpoint of Orbax
		return openBare(ctx, dir, options)
	}
	if isNotExist(err) {
		// Not as an error that says that the checkpoint does not exist.
		return nil, fmt.Errorf("%w: not a pytree: no %s in %s", fault.ErrStructure, layout.TreeFile, dir.name)
	}
	if err != nil {
		return nil, err
	}
	o := newTreeOpener(dir, options)
	documents := make(chan error, 1)
	go func() { documents <- o.readDocuments(ctx) }()
	o.meta, err = layout.ParseTree(doc)
	var storeErr error
	if err == nil {
		storeErr = o.openStore(ctx)
	}
	if err := cmp.Or(err, <-documents, storeErr); err != nil {
		return nil, err
	}
	leaves, err := o.leaves(ctx)
	if err != nil {
		return nil, err
	}
	return &storedTree{view.New(o.format(), leaves), o}, nil
}

// treeOpener gathers what is known of a stored pytree's leaves.
type treeOpener struct {
	dir       *ReadDir
	files     *view.Dir
	options   OpenOptions
	meta      *layout.TreeMetadata
	strings   *layout.Strings
	shardings map[string]*sharding.Sharding
	arrays    map[string]layout.ArrayMetadata
	ocdbt     bool
	values    valueIndex // of the database
	key       []byte     // scratch: one that is looked up

	mu      sync.Mutex // guards what follows, as leaves in files are found several at once
	forms   arrayForms
	opened  []*zarrArray
	missing int // chunks, of all arrays
}

func newTreeOpener(dir *ReadDir, options OpenOptions) *treeOpener {
	return &treeOpener{
		dir: dir, options: options, meta: &layout.TreeMetadata{}, forms: arrayForms{},
		files: &view.Dir{Store: dir.store, Path: dir.path(), Unchanged: dir.unchanged, Engine: dir.engine},
	}
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
	names, err := o.dir.arrayFiles(ctx)
	if err != nil {
		return err
	}
	if ours := layout.ArrayFile; o.dir.digests.Has(path.Join(o.dir.name, ours)) && !slices.Contains(names, ours) {
		names = append(names, ours) // to learn that it is missing
	}
	o.arrays, err = o.dir.readArrays(ctx, names, nil)
	return err
}

// arrayFiles returns the names of the array_metadatas of all processes.
func (d *ReadDir) arrayFiles(ctx context.Context) (names []string, err error) {
	dir := path.Dir(layout.ArrayFile)
	infos, err := d.List(ctx, dir)
	if err != nil && !isNotExist(err) {
		return nil, err
	}
	for _, info := range infos {
		if !info.Dir && strings.HasPrefix(info.Name, "process_") {
			names = append(names, path.Join(dir, info.Name))
		}
	}
	return names, nil
}

// readArrays returns arrays, which it may change, with those of the named files that
// are not there yet.
func (d *ReadDir) readArrays(ctx context.Context, names []string, arrays map[string]layout.ArrayMetadata) (map[string]layout.ArrayMetadata, error) {
	for _, name := range names {
		doc, err := d.ReadFile(ctx, name)
		if err != nil {
			return nil, err
		}
		found, err := layout.ParseArrays(doc)
		if err != nil {
			return nil, err
		}
		if len(arrays) == 0 {
			arrays = found
			continue
		}
		for name, a := range found {
			if _, ok := arrays[name]; !ok {
				arrays[name] = a
			}
		}
	}
	return arrays, nil
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
	var err error
	if o.ocdbt, err = o.readDatabase(ctx); err != nil {
		return err
	}
	if !o.ocdbt && o.meta.OCDBT != nil {
		return fmt.Errorf("%w: %s is missing", fault.ErrCorrupt, ocdbt.ManifestName)
	}
	return nil
}

// readDatabase reads the index of the database in the directory: of the merged
// one, or of those that several processes wrote and nobody merged. It reports
// whether there is one.
func (o *treeOpener) readDatabase(ctx context.Context) (bool, error) {
	db, err := ocdbt.Open(ctx, databaseSource{o.dir, "."})
	if isNotExist(err) {
		o.values.entries, err = readDatabases(ctx, o.dir)
		return len(o.values.entries) > 0, err
	}
	if err != nil {
		return false, err
	}
	entries := o.values.entries
	for e, err := range db.Entries(ctx, "") {
		if err != nil {
			return false, err
		}
		if len(entries) == cap(entries) { // twice as many, where append makes it a quarter more
			entries = slices.Grow(entries, max(len(entries), 256))
		}
		entries = append(entries, e)
	}
	o.values.entries = entries
	// A merged database has all keys or is damaged, so nothing can be lost here.
	o.options.Fill = o.options.Fill || o.meta.Sparse
	return true, nil
}

// leaves describes all leaves.
func (o *treeOpener) leaves(ctx context.Context) ([]*view.Leaf, error) {
	names := make([]string, len(o.meta.Leaves))
	for i, l := range o.meta.Leaves {
		names[i] = l.Path.String()
	}
	leaves := make([]*view.Leaf, len(names))
	err := o.each(names, func(i int) (err error) {
		leaves[i], err = o.leaf(ctx, o.meta.Leaves[i], names[i])
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range names[min(1, len(names)):] {
		if names[i] >= names[i+1] { // else all differ
			return leaves, checkNames(names, leaves)
		}
	}
	return leaves, nil
}

// checkNames refuses leaves of one name that are stored under it.
func checkNames(names []string, leaves []*view.Leaf) error {
	// Arrays and strings are stored apart, and empty nodes not at all.
	type key struct {
		name string
		text bool
	}
	taken := make(map[key]bool, len(leaves))
	for i, l := range leaves {
		kind := l.Metadata().Kind
		if kind == tree.KindEmpty {
			continue
		}
		at := key{names[i], kind == tree.KindString}
		if taken[at] {
			return &fault.Leaf{Path: at.name, Err: fmt.Errorf("%w: two leaves have this name, and one value", fault.ErrKeyCollision)}
		}
		taken[at] = true
	}
	return nil
}

// atOnce is how many leaves are looked for at once, where that takes reading files.
const atOnce = 16

// each calls find for each of the leaves of the given names, and returns the error
// of the first that fails.
func (o *treeOpener) each(names []string, find func(i int) error) error {
	if o.ocdbt {
		for i, name := range names {
			if err := find(i); err != nil {
				return &fault.Leaf{Path: name, Err: err}
			}
		}
		return nil
	}
	var group errgroup.Group
	group.SetLimit(atOnce)
	errs := make([]error, len(names))
	var failed atomic.Bool
	for i := range names {
		if failed.Load() {
			break
		}
		group.Go(func() error {
			if errs[i] = find(i); errs[i] != nil {
				failed.Store(true)
			}
			return nil
		})
	}
	group.Wait() // all before the first that fails have been looked for
	for i, err := range errs {
		if err != nil {
			return &fault.Leaf{Path: names[i], Err: err}
		}
	}
	return nil
}

// leaf describes one leaf.
func (o *treeOpener) leaf(ctx context.Context, l layout.TreeLeaf, name string) (*view.Leaf, error) {
	m := view.LeafMetadata{Path: l.Path, ValueType: string(l.ValueType)}
	switch {
	case l.Empty:
		var err error
		m.Empty, err = emptyOf(l.ValueType)
		return view.NewEmpty(m), err
	case l.ValueType == layout.String:
		text, ok := "", false
		if o.strings != nil {
			text, ok = o.strings.Get(name)
		}
		if !ok {
			return nil, fmt.Errorf("%w: no string in %s", fault.ErrCorrupt, layout.StringsFile)
		}
		return view.NewString(m, text), nil
	}
	format := 2
	if o.meta.Zarr3 {
		format = 3
	}
	a, err := o.findArray(ctx, name, format)
	if err != nil {
		return nil, err
	}
	if err := a.describe(&m); err != nil {
		return nil, err
	}
	switch {
	case l.ValueType == layout.JaxArray:
		m.WriteShape = l.WriteShape
		m.PRNGImpl = o.arrays[name].PRNGImpl
		m.Sharding = o.shardings[name]
		if m.Sharding == nil {
			m.Sharding = hostSharding // it stays a jax.Array when saved again
		}
	case l.ValueType == layout.Scalar || l.GoType == goComplex64 || l.GoType == goComplex128:
		m.Kind = tree.KindScalar
		if len(m.Shape) != 0 {
			return nil, fmt.Errorf("%w: a scalar of shape %v", fault.ErrCorrupt, m.Shape)
		}
	case l.GoType == goBytes && m.DType == array.Uint8 && len(m.Shape) == 1:
		m.Kind = tree.KindBytes
	}
	return view.NewArray(m, a)
}

func emptyOf(t layout.ValueType) (tree.Empty, error) {
	switch t {
	case layout.NoneNode:
		return tree.None, nil
	case layout.DictNode, "NamedTuple":
		return tree.EmptyDict, nil
	case layout.ListNode:
		return tree.EmptyList, nil
	case layout.TupleNode:
		return tree.EmptyTuple, nil
	}
	return 0, fmt.Errorf("%w: empty node of type %q", fault.ErrUnsupported, t)
}
