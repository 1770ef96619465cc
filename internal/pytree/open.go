// Package pytree opens and verifies stored pytrees: those that Orbax and this module
// write, those of old releases, files of Flax, and stores of zarr arrays. Package
// treesave writes pytrees.
package pytree

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/database"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/internal/tensors"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/internal/zarray"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/view"
)

// Open opens the pytree in dir. It reads the documents and the index of the pytree, but
// no arrays. If something is wrong with a single leaf, the tree opens and the leaf's
// [view.LeafMetadata] reports it: a document or a chunk is missing, for example, or a
// codec is unknown. If something is wrong with a document of the whole tree, or with the
// index, Open returns an error.
//
// If dir is the top of a path that is no checkpoint of Orbax, Open opens safetensors
// files, a file of Flax, or a store of zarr arrays.
func Open(ctx context.Context, dir *ckdir.ReadDir, options Options) (*view.Tree, error) {
	t, err := tensors.Open(ctx, dir)
	if t == nil && err == nil {
		var stored *stored
		if stored, err = openTree(ctx, dir, options); err == nil {
			t = stored.Tree
		}
	}
	if err != nil || dir.Open() == nil {
		return t, err
	}
	return t.While(dir.Open()), nil
}

// Options say how a stored pytree is read. The fields are those of handler.OpenOptions,
// which explains them.
type Options struct{ Fill bool }

// stored is the tree that is stored in one directory.
type stored struct {
	*view.Tree
	opener *opener
}

func openTree(ctx context.Context, dir *ckdir.ReadDir, options Options) (*stored, error) {
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
	for _, open := range []func(context.Context, *ckdir.ReadDir, Options) (*stored, error){openAggregate, openRandomKey} {
		if t, err := open(ctx, dir, options); t != nil || err != nil {
			return t, err
		}
	}
	if dir.Name() == "" { // not part of a checkpoint of Orbax
		return openBare(ctx, dir, options)
	}
	// The error must not say that the checkpoint does not exist.
	return nil, fmt.Errorf("%w: not a pytree: no %s in %s", fault.ErrStructure, layout.TreeFile, dir.Name())
}

// describeTree reads the documents and the index of a pytree. It returns nil if the
// pytree has no metadata.
func describeTree(ctx context.Context, dir *ckdir.ReadDir, options Options) (*opener, error) {
	doc, err := dir.ReadOptional(ctx, layout.TreeFile)
	if doc == nil || err != nil {
		return nil, err
	}
	o := newOpener(dir, options)
	documents := make(chan error, 1)
	if transfer.AtOnce(o.properties(), 2) > 1 {
		go parallel.Call(func() error { return o.readDocuments(ctx) }, func(err error) { documents <- err })
	} else {
		documents <- o.readDocuments(ctx)
	}
	o.meta, err = layout.ParseTree(doc)
	if err == nil {
		o.aggregate, err = readAggregate(ctx, dir)
	}
	if o.aggregate != nil && len(o.aggregate.byPath) == 0 {
		o.aggregate = nil // it has only placeholders
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

// properties returns those of the store.
func (o *opener) properties() storage.Properties { return o.dir.At().Store.Properties() }

// tree returns the tree of all leaves.
func (o *opener) tree(ctx context.Context) (*stored, error) {
	leaves, err := o.leaves(ctx)
	if err != nil {
		return nil, err
	}
	t := view.New(o.format(), leaves).WithShardingErr(o.shardingErr)
	return &stored{t, o}, nil
}

// opener gathers the descriptions of the leaves of a stored pytree.
type opener struct {
	dir       *ckdir.ReadDir
	files     *view.Dir
	options   Options
	meta      *layout.TreeMetadata
	aggregate *aggregate // nil if no leaves are aggregated
	strings   *layout.Strings
	shardings map[string]*sharding.Sharding
	arrays    map[string]layout.ArrayMetadata
	records   *records // of the places of chunks; nil if there are none
	// These say why documents of another writer cannot be used; mostly they are nil. Only
	// leaves that depend on such a document are broken then.
	stringsErr, shardingErr, arraysErr error

	// keysUnnamed says that the arrays are PRNG keys, but the name of their generator is
	// not stored.
	keysUnnamed bool

	ocdbt  bool
	values database.Index // of the database
	broken database.Broken
	key    []byte            // scratch for a key that is looked up
	ahead  map[string][]byte // documents that have been read, by key; see readAhead

	mu      sync.Mutex // guards the fields below, because leaves in files are found several at a time
	metas   zarray.Metas
	opened  []*zarray.Array
	missing int  // chunks, of all arrays
	unasked bool // missing chunks are filled without an option
}

func newOpener(dir *ckdir.ReadDir, options Options) *opener {
	return &opener{
		dir: dir, options: options, records: newRecords(dir), meta: &layout.TreeMetadata{}, metas: zarray.Metas{},
		files: &view.Dir{At: dir.At(), Unchanged: dir.Unchanged, Engine: dir.Engine()},
	}
}

func (o *opener) format() string {
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

// openStore reads the index of the database if the arrays are in a database. A tree
// without arrays has no database.
func (o *opener) openStore(ctx context.Context) error {
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

// readDatabase reads the index of the database in the directory, and finds out which of
// its data files are broken. It reports whether there is a database.
func (o *opener) readDatabase(ctx context.Context) (bool, error) {
	found, err := o.readIndex(ctx)
	if err != nil || !found {
		return false, err
	}
	o.broken, err = database.FindBroken(ctx, o.properties(), o.values.All(), func(file string) (*ckdir.ReadDir, string, error) { return o.dir, file, nil })
	return true, err
}

// readIndex reads the index of the merged database in the directory. If there is none, it
// reads the indexes of the databases of single processes. It reports whether there is any
// index.
func (o *opener) readIndex(ctx context.Context) (bool, error) {
	db, err := ocdbt.Open(ctx, database.Source{Dir: o.dir, Name: "."})
	if ckdir.NotExist(err) {
		o.values.Entries, err = database.ReadAll(ctx, o.dir)
		return len(o.values.Entries) > 0, err
	}
	if err != nil {
		return false, err
	}
	entries := o.values.Entries
	for e, err := range db.Entries(ctx, "") {
		if err != nil {
			return false, err
		}
		if len(entries) == cap(entries) { // double the capacity; append would add only a quarter
			entries = slices.Grow(entries, max(len(entries), 256))
		}
		entries = append(entries, e)
	}
	o.values.Entries = entries
	// A merged database has all keys or is damaged, so Fill cannot hide a loss here.
	o.options.Fill = o.options.Fill || o.meta.Sparse
	return true, nil
}
