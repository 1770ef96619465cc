package array

import (
	"context"
	"fmt"
	"slices"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/region"
	"github.com/go-orbax/orbax/sharding"
)

// Shard is a box of a global array that is in the memory of this process.
type Shard struct {
	Offset []int  // of the box in the global array
	Array  *Array // the elements of the box, which has the shape of this array
}

// Sharded is a global array that several processes hold together, like a jax.Array. Each
// process has a Sharded of the same dtype, shape and sharding with its own shards.
//
// A Sharded is a leaf of a tree. If all processes of a group save the tree together, each
// writes a part of its shards. A load fills the shards and reads nothing else.
type Sharded struct {
	what     ShapeDtypeStruct
	prngImpl string
	shards   []Shard
	pieces   sharding.Pieces // of the sharding
	byNumber map[int]int     // by the number of a piece, the index of its shard
}

// NewSharded returns the global array of which this process holds the given shards. Each
// of them must be the box of a device of the sharding on, have the dtype d, and be there
// once, even if several devices of this process hold it. Boxes without elements may be
// left out. Unlike in JAX, an axis need not split evenly; see [sharding.Sharding.Pieces].
// The memory of the shards is not copied. The error matches orbax.ErrShape, orbax.ErrDType,
// or is that of the sharding.
func NewSharded(d DType, shape []int, on *sharding.Sharding, shards ...Shard) (*Sharded, error) {
	if _, err := byteSize(d, shape); err != nil {
		return nil, err
	}
	p, err := on.Pieces(shape)
	if err != nil {
		return nil, err
	}
	a := &Sharded{
		what:     ShapeDtypeStruct{slices.Clone(shape), d, on},
		shards:   make([]Shard, 0, len(shards)),
		pieces:   *p,
		byNumber: make(map[int]int, len(shards)),
	}
	for _, s := range shards {
		if err := a.add(s); err != nil {
			return nil, fmt.Errorf("a shard of %v: %w", a.what, err)
		}
	}
	return a, nil
}

func (a *Sharded) add(s Shard) error {
	switch {
	case s.Array == nil:
		return fmt.Errorf("%w: it has no array", fault.ErrShape)
	case s.Array.dtype != a.what.DType:
		return fmt.Errorf("%w: it is %v", fault.ErrDType, s.Array.dtype)
	}
	if err := region.CheckBox("the array", a.what.Shape, s.Offset, s.Array.shape); err != nil {
		return err
	}
	box := sharding.Box{Offset: s.Offset, Size: s.Array.shape}
	n, ok := a.pieces.Find(box)
	if !ok {
		return fmt.Errorf("%w: no device of %v has the box %v at %v", fault.ErrShape, a.what.Sharding, box.Size, box.Offset)
	}
	if _, twice := a.byNumber[n]; twice {
		return fmt.Errorf("%w: the box %v at %v is given twice", fault.ErrShape, box.Size, box.Offset)
	}
	a.byNumber[n] = len(a.shards)
	a.shards = append(a.shards, Shard{slices.Clone(s.Offset), s.Array})
	return nil
}

// AllocSharded returns a global array with the shards of one process, whose elements are
// zero. It allocates nothing else. The error is that of [NewSharded] or of
// [sharding.Process.Owners].
func AllocSharded(what ShapeDtypeStruct, process sharding.Process) (*Sharded, error) {
	boxes, err := process.Boxes(what.Sharding, what.Shape)
	if err != nil {
		return nil, err
	}
	shards := make([]Shard, len(boxes))
	for i, b := range boxes {
		part, err := New(what.DType, b.Size, nil)
		if err != nil {
			return nil, err
		}
		shards[i] = Shard{b.Offset, part}
	}
	return NewSharded(what.DType, what.Shape, what.Sharding, shards...)
}

// WithPRNGImpl returns a global array that shares a's memory and holds keys of the random
// generator impl. a has the data of the keys; [PRNGKey] has the rules and the errors.
func (a *Sharded) WithPRNGImpl(impl string) (*Sharded, error) {
	if err := checkKeyData(impl, a.what.DType, a.what.Shape); err != nil {
		return nil, err
	}
	b := *a
	b.prngImpl = impl
	return &b, nil
}

// DType returns the type of the elements.
func (a *Sharded) DType() DType { return a.what.DType }

// Shape returns the dimensions of the global array. The caller may keep and change the
// slice.
func (a *Sharded) Shape() []int { return slices.Clone(a.what.Shape) }

// Sharding returns the layout of the array over the devices of all processes.
func (a *Sharded) Sharding() *sharding.Sharding { return a.what.Sharding }

// PRNGImpl returns the name of the random generator whose keys the array holds, or "".
func (a *Sharded) PRNGImpl() string { return a.prngImpl }

// Shards returns the shards of this process. The caller does not change the slice.
func (a *Sharded) Shards() []Shard { return a.shards }

// Shard returns the shard of this process that holds all of the box of the given size at
// off. ok is false if there is none, as for a box without elements.
func (a *Sharded) Shard(off, size []int) (s Shard, ok bool) {
	for n := range a.pieces.Overlapping(sharding.Box{Offset: off, Size: size}) {
		if _, before := a.byNumber[n]; ok || !before {
			return Shard{}, false
		}
		s, ok = a.shards[a.byNumber[n]], true
	}
	return s, ok
}

// String returns the dtype and shape as that of an [Array] does, and how many shards are in
// this process.
func (a *Sharded) String() string {
	whole := Array{dtype: a.what.DType, shape: a.what.Shape, prngImpl: a.prngImpl}
	if len(a.shards) == 1 {
		return whole.String() + " in 1 shard"
	}
	return fmt.Sprintf("%v in %d shards", &whole, len(a.shards))
}

// ReadRegion copies the box of the given size at off to dst; see [Reader]. If a part of
// the box is in no shard of this process, the error matches orbax.ErrShape.
func (a *Sharded) ReadRegion(_ context.Context, dst []byte, off, size []int) error {
	if err := region.CheckBox("the array", a.what.Shape, off, size); err != nil {
		return err
	}
	item := a.what.DType.Size()
	if err := region.CheckMemory("the destination", len(dst), size, item); err != nil {
		return err
	}
	for n := range a.pieces.Overlapping(sharding.Box{Offset: off, Size: size}) {
		at, ok := a.byNumber[n]
		if !ok {
			return fmt.Errorf("%w: this process holds no shard with all of the box %v at %v", fault.ErrShape, size, off)
		}
		if err := a.shards[at].copyTo(dst, off, size, item); err != nil {
			return err
		}
	}
	return nil
}

// copyTo copies the elements that the shard and a box have in common, of which there are
// some, to dst, which has the shape of the box.
func (s Shard) copyTo(dst []byte, off, size []int, item int) error {
	to, from, common := make([]int, len(off)), make([]int, len(off)), make([]int, len(off))
	for i := range off {
		begin := max(off[i], s.Offset[i])
		end := min(off[i]+size[i], s.Offset[i]+s.Array.shape[i])
		to[i], from[i], common[i] = begin-off[i], begin-s.Offset[i], end-begin
	}
	return CopyRegion(dst, size, to, s.Array.data, s.Array.shape, from, common, item)
}
