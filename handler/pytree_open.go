package handler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

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
// arrays. What is wrong with a leaf alone, such as a document or a chunk of it that
// is missing, or a codec that is not known, is in its view.LeafMetadata, and no error
// of the tree; what is wrong with a document of the whole tree, or with the index, is
// an error.
//
// At the top of a path that is no checkpoint of Orbax it opens what it finds
// there: safetensors files, a file of Flax, or a store of zarr arrays.
func OpenTree(ctx context.Context, dir *ReadDir, options OpenOptions) (*view.Tree, error) {
	t, err := openSafetensors(ctx, dir)
	if t == nil && err == nil {
		var stored *storedTree
		if stored, err = openTree(ctx, dir, options); err == nil {
			t = stored.Tree
		}
	}
	if err != nil || dir.open == nil {
		return t, err
	}
	return t.While(dir.open), nil
}

// OpenOptions say how a stored pytree is read.
type OpenOptions struct {
	// Fill takes chunks that are missing for chunks of the array's fill value,
	// which is what zarr says of them. Without it they are damage in a tree of Orbax,
	// whose v1 writes every chunk; in a store of zarr arrays they are filled even so,
	// unless there is very little else. With it nothing that is stored justifies the
	// size of an array.
	Fill bool
}

// storedTree is a tree as it is stored in one directory.
type storedTree struct {
	*view.Tree
	opener *treeOpener
}

func openTree(ctx context.Context, dir *ReadDir, options OpenOptions) (*storedTree, error) {
	if t, err := openFlaxFile(ctx, dir); t != nil || err != nil {
		return t, err
	}
	o, err := describeTree(ctx, dir, options)
	if err != nil {
		return nil, err
	}
	if o != nil {
		return o.tree(ctx)
	}
	for _, open := range []func(context.Context, *ReadDir, OpenOptions) (*storedTree, error){openAggregate, openRandomKey} {
		if t, err := open(ctx, dir, options); t != nil || err != nil {
			return t, err
		}
	}
	if dir.name == "" { // not part of a checkpoint of Orbax
		return openBare(ctx, dir, options)
	}
	// Not as an error that says that the checkpoint does not exist.
	return nil, fmt.Errorf("%w: not a pytree: no %s in %s", fault.ErrStructure, layout.TreeFile, dir.name)
}

// describeTree reads the documents and the index of a pytree; nil if it has no metadata.
func describeTree(ctx context.Context, dir *ReadDir, options OpenOptions) (*treeOpener, error) {
	doc, err := dir.readOptional(ctx, layout.TreeFile)
	if doc == nil || err != nil {
		return nil, err
	}
	o := newTreeOpener(dir, options)
	documents := make(chan error, 1)
	go func() { documents <- o.readDocuments(ctx) }()
	o.meta, err = layout.ParseTree(doc)
	if err == nil {
		o.aggregate, err = readAggregate(ctx, dir)
	}
	if o.aggregate != nil && len(o.aggregate.byPath) == 0 {
		o.aggregate = nil // of placeholders alone
	}
	var storeErr error
	if err == nil {
		storeErr = o.openStore(ctx)
	}
	if err := cmp.Or(err, <-documents, storeErr); err != nil {
		return nil, err
	}
	return o, nil
}

// tree returns the tree of all leaves.
func (o *treeOpener) tree(ctx context.Context) (*storedTree, error) {
	leaves, err := o.leaves(ctx)
	if err != nil {
		return nil, err
	}
	t := view.New(o.format(), leaves).WithShardingErr(o.shardingErr)
	return &storedTree{t, o}, nil
}

// treeOpener gathers what is known of a stored pytree's leaves.
type treeOpener struct {
	dir       *ReadDir
	files     *view.Dir
	options   OpenOptions
	meta      *layout.TreeMetadata
	aggregate *aggregate // nil if no leaves are aggregated
	strings   *layout.Strings
	shardings map[string]*sharding.Sharding
	arrays    map[string]layout.ArrayMetadata
	places    *places // nil if there is no record of them
	// What keeps these documents of another writer from being understood; nil
	// mostly. Only what depends on them is not known then.
	stringsErr, shardingErr, arraysErr error

	// keysUnnamed says that the arrays are PRNG keys, and nothing what generator they are
	// for.
	keysUnnamed bool

	ocdbt  bool
	values valueIndex // of the database
	key    []byte     // scratch: one that is looked up

	mu      sync.Mutex // guards what follows, as leaves in files are found several at once
	forms   arrayForms
	opened  []*zarrArray
	missing int  // chunks, of all arrays
	unasked bool // they are filled without an option
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
	if o.aggregate != nil && o.aggregated() {
		return "msgpack"
	}
	if o.aggregate != nil {
		store = "msgpack+" + store
	}
	return store + "+" + format
}

func (o *treeOpener) readDocuments(ctx context.Context) error {
	doc, err := o.dir.readOptional(ctx, layout.StringsFile)
	if err == nil && doc != nil {
		o.strings, err = layout.ParseStrings(doc)
	}
	if o.stringsErr, err = o.ofLeaves(layout.StringsFile, err); err != nil {
		return err
	}
	doc, err = o.dir.readOptional(ctx, layout.ShardingFile)
	if err == nil && doc != nil {
		o.shardings, err = sharding.ParseFile(doc)
	}
	if o.shardingErr, err = o.ofLeaves(layout.ShardingFile, err); err != nil {
		return err
	}
	if o.arraysErr, err = o.ofLeaves(path.Dir(layout.ArrayFile), o.readArrayMetadatas(ctx)); err != nil {
		return err
	}
	o.places, err = o.dir.readPlaces(ctx)
	return err
}

// ofLeaves divides the errors of a document of which some leaves have an entry: it is
// theirs if the document is damaged, as those of other writers can be, which do not
// sync them; else, and in a checkpoint with digests, of the whole tree.
func (o *treeOpener) ofLeaves(name string, err error) (leaves, tree error) {
	if !errors.Is(err, fault.ErrCorrupt) || o.dir.digests.Has(path.Join(o.dir.name, layout.TreeFile)) {
		return nil, err
	}
	return fmt.Errorf("%s: %w", name, err), nil
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
		return !l.Empty && l.ValueType != layout.String && o.aggregate.find(l.Path) == nil
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

// leaves describes all leaves. Those that cannot be read say why.
func (o *treeOpener) leaves(ctx context.Context) ([]*view.Leaf, error) {
	names := make([]string, len(o.meta.Leaves))
	for i, l := range o.meta.Leaves {
		names[i] = l.Path.String()
	}
	leaves := make([]*view.Leaf, len(names))
	o.each(len(names), func(i int) { leaves[i] = o.leaf(ctx, o.meta.Leaves[i], names[i]) })
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for i := range names[min(1, len(names)):] {
		if names[i] >= names[i+1] { // else all differ
			o.breakEqual(names, leaves)
			break
		}
	}
	return leaves, nil
}

// breakEqual breaks the leaves of one name that are stored under it: one has taken
// the place of the others, and nothing says which.
func (o *treeOpener) breakEqual(names []string, leaves []*view.Leaf) {
	// Arrays and strings are stored apart, and empty nodes not at all.
	type key struct {
		name string
		text bool
	}
	taken := make(map[key]int, len(leaves))
	for i, l := range leaves {
		kind := l.Metadata().Kind
		if kind == tree.KindEmpty || o.aggregate.find(l.Metadata().Path) != nil {
			continue
		}
		at := key{names[i], kind == tree.KindString}
		if first, ok := taken[at]; ok {
			err := fmt.Errorf("%w: %w: two leaves have this name and were stored in one place; only the value of one is left", fault.ErrCorrupt, fault.ErrKeyCollision)
			for _, n := range []int{first, i} {
				leaves[n] = view.NewBroken(*leaves[n].Metadata(), err)
			}
			continue
		}
		taken[at] = i
	}
}

// atOnce is how many leaves are looked for at once, where that takes reading files.
const atOnce = 16

// each calls find for each of n leaves.
func (o *treeOpener) each(n int, find func(i int)) {
	if o.ocdbt {
		for i := range n {
			find(i)
		}
		return
	}
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i := range n {
		group.Go(func() error {
			find(i)
			return nil
		})
	}
	group.Wait()
}

// leaf describes one leaf: a broken one if it cannot be read.
func (o *treeOpener) leaf(ctx context.Context, l layout.TreeLeaf, name string) *view.Leaf {
	m := view.LeafMetadata{Path: l.Path, ValueType: string(l.ValueType)}
	leaf, err := o.findLeaf(ctx, l, name, &m)
	if err != nil {
		return view.NewBroken(m, err)
	}
	return leaf
}

// findLeaf finds what is stored of a leaf, and completes m as far as it can.
func (o *treeOpener) findLeaf(ctx context.Context, l layout.TreeLeaf, name string, m *view.LeafMetadata) (*view.Leaf, error) {
	found := o.aggregate.find(l.Path)
	switch {
	case found != nil:
		return o.aggregate.leaf(found, m)
	case l.Empty:
		var err error
		m.Empty, err = emptyOf(l.ValueType)
		return view.NewEmpty(*m), err
	case l.ValueType == layout.String:
		text, ok := "", false
		if o.strings != nil {
			text, ok = o.strings.Get(name)
		}
		if !ok {
			return nil, cmp.Or(o.stringsErr, fmt.Errorf("%w: no string in %s", fault.ErrCorrupt, layout.StringsFile))
		}
		return view.NewString(*m, text), nil
	}
	format := 2
	if o.meta.Zarr3 {
		format = 3
	}
	a, err := o.findArray(ctx, name, format)
	if err := cmp.Or(a.describe(m), err); err != nil {
		return nil, err
	}
	switch {
	case l.ValueType == layout.JaxArray:
		m.WriteShape = l.WriteShape
		m.PRNGImpl = o.arrays[name].PRNGImpl
		if o.keysUnnamed {
			m.PRNGImpl = keyImpl(m.Shape)
		}
		m.Sharding = o.shardings[name]
		if o.arraysErr != nil && m.DType == array.Uint32 { // what the data of keys are
			return nil, fmt.Errorf("cannot tell whether it is a PRNG key: %w", o.arraysErr)
		}
	case l.ValueType == layout.Scalar || l.GoType == goComplex64 || l.GoType == goComplex128:
		m.Kind = tree.KindScalar
		if len(m.Shape) != 0 {
			return nil, fmt.Errorf("%w: a scalar of shape %v", fault.ErrCorrupt, m.Shape)
		}
	case l.GoType == goBytes && m.DType == array.Uint8 && len(m.Shape) == 1:
		m.Kind = tree.KindBytes
	}
	return view.NewArray(*m, a)
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
	if t.IsValue() {
		return 0, fmt.Errorf("%w: its value is missing in the file %s", fault.ErrCorrupt, layout.AggregateFile)
	}
	return 0, fmt.Errorf("%w: empty node of type %q", fault.ErrUnsupported, t)
}
