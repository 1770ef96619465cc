package handler

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/sharding"
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
	// Fill makes chunks that are missing chunks of the array's fill value, as the
	// zarr specification has it. Without Fill a missing chunk is damage in a tree of
	// Orbax, because Orbax v1 writes every chunk; in a store of zarr arrays it is
	// filled even then, unless hardly any data is stored. With Fill a document of a
	// few bytes can stand for an array of any size, so set it only for checkpoints
	// that you trust.
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
	broken brokenFiles
	key    []byte // scratch: one that is looked up

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

// readDatabase reads the index of the database in the directory, and looks at its data
// files. It reports whether there is one.
func (o *treeOpener) readDatabase(ctx context.Context) (bool, error) {
	found, err := o.readIndex(ctx)
	if err != nil || !found {
		return false, err
	}
	o.broken, err = findBroken(ctx, o.values.all(), func(file string) (*ReadDir, string, error) { return o.dir, file, nil })
	return true, err
}

// readIndex reads the index of the merged database in the directory or, without one, the
// indexes of the databases of single processes. It reports whether there is any index.
func (o *treeOpener) readIndex(ctx context.Context) (bool, error) {
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
