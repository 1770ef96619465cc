// Package treesave plans and writes a pytree. [New] makes a [Plan] of the leaves and
// refuses everything that can be refused. [Plan.Write] writes it, and shares bytes with
// an earlier save where that is allowed. Package pytree opens the result.
package treesave

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/database"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/zarr"
)

// Plan holds everything that a save of a pytree writes.
type Plan struct {
	storage   Storage
	meta      layout.TreeMetadata
	strings   map[string]string
	shardings map[string]*sharding.Sharding
	jax       []layout.ArrayMetadata
	arrays    []planned
	metas     map[metaKey]*zarr.Metadata
	process   sharding.Process
	home      *sharding.Sharding // of PRNG keys without a sharding
	limit     int                // default size of chunks that several processes hold
	own       []byte             // the record of what process 0 has written, if others write too
}

// planned is one array that will be stored.
type planned struct {
	name string // parameter name
	src  array.Reader
	zarr *zarr.Metadata // as stored; its dtype may differ from that of src
	// compression is the requested compression; zarr has none until it is chosen.
	compression zarr.Compression
	// copied says that src is a copy that only the save uses.
	copied bool
	// part says that other processes write the chunks that are not in own.
	part bool
	own  []int // numbers of chunks in the order of the grid, ascending
}

// hostSharding is the recorded sharding of leaves that are on no device. With it Python
// can load them into jax.eval_shape targets.
var hostSharding = sharding.Host()

// New decides how each leaf is stored, and which part of it the given process writes; the
// zero Process writes all. Its error joins one error for each leaf that cannot be stored
// or could not be loaded again.
func New(leaves []tree.Leaf, storage Storage, process sharding.Process) (*Plan, error) {
	if process.Size <= 1 {
		process = sharding.Process{Size: 1, Owner: func(int) int { return 0 }}
	}
	if err := storage.check(); err != nil {
		return nil, err
	}
	ocdbt := !storage.PlainFiles
	p := &Plan{
		storage:   storage,
		meta:      layout.TreeMetadata{OCDBT: &ocdbt, Zarr3: !storage.Zarr2, Leaves: make([]layout.TreeLeaf, 0, len(leaves))},
		strings:   map[string]string{},
		shardings: map[string]*sharding.Sharding{},
		metas:     map[metaKey]*zarr.Metadata{},
		process:   process,
		limit:     shareLimit(leaves, process),
		home:      hostSharding,
	}
	for _, l := range slices.Backward(leaves) {
		if a, ok := l.Value.(*array.Sharded); ok && a.Sharding() != nil {
			p.home = p.whole(a.Sharding()) // that of the first one
		}
	}
	var wrong mistakes
	for _, l := range leaves {
		if err := p.add(l); err != nil {
			wrong.add(l.Path.String(), err)
		}
	}
	errs := wrong.all()
	if len(p.strings) > 0 {
		if _, err := layout.StringsDocument(p.strings); err != nil {
			errs = append(errs, err)
		}
	}
	errs = append(errs, p.checkKeys()...)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := p.checkFiles(); err != nil {
		return nil, err
	}
	return p, p.divide(process)
}

func (p *Plan) add(l tree.Leaf) error {
	name := l.Path.String()
	entry := layout.TreeLeaf{Path: l.Path}
	switch v := l.Value.(type) {
	case tree.Empty:
		entry.ValueType, entry.Empty = layout.ValueType(v.String()), true
	case string:
		if err := layout.CheckStringName(name); err != nil {
			return err
		}
		entry.ValueType = layout.String
		p.strings[name] = v
	case array.Reader:
		return p.addArray(entry, name, v)
	case []byte:
		a, err := array.New(array.Uint8, []int{len(v)}, v)
		if err != nil {
			return err
		}
		entry.GoType = layout.GoBytes
		return p.addPlain(entry, name, a, layout.NumPyArray)
	default:
		a := array.ScalarOf(v)
		if a == nil {
			return fmt.Errorf("%w: %T", fault.ErrLeafType, v)
		}
		kind := layout.Scalar
		switch a.DType() { // Orbax has no complex scalars
		case array.Complex64:
			kind, entry.GoType = layout.NumPyArray, layout.GoComplex64
		case array.Complex128:
			kind, entry.GoType = layout.NumPyArray, layout.GoComplex128
		}
		return p.addPlain(entry, name, a, kind)
	}
	p.meta.Leaves = append(p.meta.Leaves, entry)
	return nil
}

// addPlain adds a leaf that is stored as array a, in one chunk.
func (p *Plan) addPlain(entry layout.TreeLeaf, name string, a *array.Array, kind layout.ValueType) error {
	entry.ValueType = kind
	p.shardings[name] = hostSharding
	return p.store(entry, name, a, nil, ArrayOptions{})
}

// options returns the options of one array.
func (p *Plan) options(name string, a array.ShapeDtypeStruct) ArrayOptions {
	if p.storage.PerLeaf == nil {
		return p.storage.Arrays
	}
	return p.storage.PerLeaf(name, a, p.storage.Arrays)
}

func (p *Plan) addArray(entry layout.TreeLeaf, name string, a array.Reader) error {
	what := array.Abstract(a)
	s := p.options(name, what)
	on, impl := what.Sharding, prngImpl(a)
	if impl != "" {
		if !array.KnownPRNG(impl) {
			return fmt.Errorf("%w: JAX refuses the whole checkpoint if it does not know the random generator %q of these keys: save their data as an array of uint32", fault.ErrLeafType, impl)
		}
		s.DType = array.Invalid
	}
	if on == nil && impl == "" {
		entry.ValueType = layout.NumPyArray
		p.shardings[name] = hostSharding
		return p.store(entry, name, a, nil, s)
	}
	entry.ValueType = layout.JaxArray
	if on == nil {
		on = p.home // a PRNG key is always a jax.Array
	}
	shard, even, err := shardShape(on, a)
	if err != nil {
		return err // here, because JAX could not load it
	}
	if entry.WriteShape = shard; !even { // JAX loads no array with a sharding that does not divide it
		on = p.whole(on)
	}
	p.shardings[name] = on
	if err := p.store(entry, name, a, entry.WriteShape, s); err != nil {
		return err
	}
	p.jax = append(p.jax, layout.ArrayMetadata{
		Name:       name,
		WriteShape: entry.WriteShape,
		ChunkShape: p.arrays[len(p.arrays)-1].zarr.ChunkShape,
		PRNGImpl:   impl,
	})
	return nil
}

// prngImpl returns the generator of the PRNG keys in an array, "" if the array has no
// keys.
func prngImpl(a array.Reader) string {
	if k, ok := a.(interface{ PRNGImpl() string }); ok {
		return k.PRNGImpl()
	}
	return ""
}

// whole returns a sharding for an array that every process can load as a whole. Of several
// processes of JAX each needs a device that has the array, so it is replicated over the
// devices of on. One process needs device 0 alone.
func (p *Plan) whole(on *sharding.Sharding) *sharding.Sharding {
	if p.process.Size == 1 || on.Mesh == nil {
		return hostSharding
	}
	return sharding.Named(*on.Mesh, nil)
}

// shardShape returns the shape of the largest shard of an array, each dimension at least 1.
// For a sharding of an unknown kind it returns the shape of the array. even reports whether
// all shards are equal. Only an [array.Sharded] may have shards that are not.
func shardShape(on *sharding.Sharding, a array.Reader) (shard []int, even bool, err error) {
	shape := a.Shape()
	if on.Raw != "" {
		return atLeastOne(shape), true, on.Validate()
	}
	shard, err = on.ShardShape(shape)
	if _, inParts := a.(*array.Sharded); err == nil || !inParts {
		return atLeastOne(shard), true, err
	}
	pieces, err := on.Pieces(shape)
	if err != nil {
		return nil, false, err
	}
	return atLeastOne(pieces.Box(0).Size), false, nil
}

// atLeastOne returns shape with 1 in place of 0: a chunk has elements, even if its array
// has none.
func atLeastOne(shape []int) []int {
	shape = slices.Clone(shape)
	for i := range shape {
		shape[i] = max(1, shape[i])
	}
	return shape
}

// store adds an array that is written in chunks according to s. The chunks divide shards
// of the shape shard; if shard is nil, the array is one shard.
func (p *Plan) store(entry layout.TreeLeaf, name string, a array.Reader, shard []int, s ArrayOptions) error {
	dtype := a.DType()
	if dtype.SameClass(s.DType) {
		dtype = s.DType
	}
	limit, err := p.chunkLimit(a)
	if err != nil {
		return err
	}
	chunk, err := chunkShape(a.Shape(), shard, dtype.Size(), limit, s)
	if err != nil {
		return &optionError{fmt.Sprint(s.ChunkByteSize, s.ShardAxes), err}
	}
	o := zarr.Options{Shape: a.Shape(), ChunkShape: chunk, DType: dtype, Compression: s.Compression}
	if o.Compression == zarr.Auto() {
		o.Compression = zarr.Compression{}
	}
	m, err := p.metadata(o)
	if err != nil {
		o.Compression = zarr.Compression{}
		if _, other := p.metadata(o); other == nil || dtype != a.DType() {
			return &optionError{fmt.Sprint(s.Compression, s.DType), err}
		}
		return err
	}
	for _, inMemory := range memoriesOf(a) { // other arrays are checked when they are encoded
		if err := zarr.CheckElements(dtype, inMemory.Bytes()); err != nil {
			return err
		}
	}
	p.arrays = append(p.arrays, planned{name: name, src: a, zarr: m, compression: s.Compression})
	p.meta.Leaves = append(p.meta.Leaves, entry)
	return nil
}

// memoriesOf returns the arrays in memory of which r consists.
func memoriesOf(r array.Reader) []*array.Array {
	switch r := r.(type) {
	case *array.Array:
		return []*array.Array{r}
	case *array.Sharded:
		var all []*array.Array
		for _, s := range r.Shards() {
			all = append(all, s.Array)
		}
		return all
	}
	return nil
}

// metadata returns the zarr metadata for o, which many arrays of a tree share.
func (p *Plan) metadata(o zarr.Options) (*zarr.Metadata, error) {
	o.Format = 3
	if p.storage.Zarr2 {
		o.Format = 2
	}
	shapes := make([]byte, 0, 64)
	for _, n := range slices.Concat(o.Shape, o.ChunkShape) {
		shapes = append(strconv.AppendInt(shapes, int64(n), 10), ' ')
	}
	key := metaKey{o.DType, o.Compression, string(shapes)}
	m, err := p.metas[key], error(nil)
	if m == nil {
		if m, err = zarr.New(o); err == nil {
			p.metas[key] = m
		}
	}
	return m, err
}

// metaKey identifies the metadata of an array. Arrays with equal keys share it.
type metaKey struct {
	dtype       array.DType
	compression zarr.Compression
	shapes      string
}

const (
	maxKey      = 65535 // largest size of a key in OCDBT
	maxChunkKey = 21    // largest size of one index in a chunk's key, with its separator
)

// checkKeys refuses arrays that would share their keys. TensorStore adds a slash to a
// name only if the name does not end with one (observed), so "a" and "a/" are the same.
func (p *Plan) checkKeys() []error {
	var errs []error
	owner := make(map[string]string, len(p.arrays))
	for _, a := range p.arrays {
		key := database.JoinKey(a.name, "")
		if len(key)+maxChunkKey*(1+len(a.src.Shape())) > maxKey {
			errs = append(errs, &fault.Leaf{Path: a.name, Err: fmt.Errorf("%w: a name of %d bytes is too long for the store", fault.ErrReservedName, len(a.name))})
		}
		if other, taken := owner[key]; taken && other != a.name { // equal names have been reported already
			errs = append(errs, &fault.Leaf{Path: a.name, Err: fmt.Errorf("%w: %q and %q are the same name in the store", fault.ErrKeyCollision, other, a.name)})
		}
		owner[key] = a.name
	}
	return errs
}
