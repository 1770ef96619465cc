package view

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/memory"
	"github.com/go-orbax/orbax/internal/strided"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
)

// Leaf is a leaf that has not been read: one that is stored, or one that is made
// of others. It may be used by several goroutines. A leaf that is an array is an
// array.Reader, and can be saved: it is then read in parts as it is written.
type Leaf struct {
	meta LeafMetadata

	pieces []piece  // of an array: together they fill it
	stored [1]piece // the memory of pieces, of an array that is stored as it is
	value  any      // of other leaves

	homes []*home    // of it and all that it is made of
	cache *partCache // of a leaf that is read bit by bit
}

var _ array.Reader = (*Leaf)(nil)

// piece is a part of a leaf that comes from one stored array.
type piece struct {
	array Array
	dtype array.DType   // of the stored array
	view  strided.View  // which of its elements
	casts []array.DType // what they are converted to, one after the other
	at    []int         // where in the leaf the box begins that they fill
}

// NewArray returns the leaf that m describes, whose elements are all those of a,
// with the same dtype and shape.
func NewArray(m LeafMetadata, a Array) (*Leaf, error) {
	whole, err := strided.Of(m.Shape)
	if err != nil {
		return nil, err
	}
	l := &Leaf{meta: m, stored: [1]piece{{array: a, dtype: m.DType, view: whole, at: origin(len(m.Shape))}}}
	l.pieces = l.stored[:]
	return l, nil
}

// zeros is the origin of all arrays that are likely.
var zeros [8]int

// origin returns the index of the first element of an array, which must not be
// changed.
func origin(rank int) []int {
	if rank <= len(zeros) {
		return zeros[:rank:rank]
	}
	return make([]int, rank)
}

// NewString returns the leaf of a string.
func NewString(m LeafMetadata, text string) *Leaf {
	m.Kind, m.Bytes, m.StoredBytes = tree.KindString, int64(len(text)), int64(len(text))
	return &Leaf{meta: m, value: text}
}

// NewEmpty returns the leaf of a node without data; m.Empty says which kind of node.
func NewEmpty(m LeafMetadata) *Leaf {
	m.Kind = tree.KindEmpty
	return &Leaf{meta: m, value: m.Empty}
}

// NewBroken returns a leaf that cannot be read, because of err. m has what is known
// of it: where m.DType is array.Invalid, not even whether it is an array. Every
// method that wants its value returns err; a leaf that is made of it cannot be read
// either.
func NewBroken(m LeafMetadata, err error) *Leaf {
	m.Err = err
	if m.DType == array.Invalid {
		m.Kind, m.Shape = tree.KindInvalid, nil
	}
	return &Leaf{meta: m}
}

// brokenOf returns what is made of leaves of which one cannot be read: nil if all
// can.
func brokenOf(path tree.Path, leaves ...*Leaf) *Leaf {
	for _, l := range leaves {
		if err := l.meta.err(); err != nil {
			return NewBroken(LeafMetadata{Path: path}, err)
		}
	}
	return nil
}

// checkAll returns the errors of those leaves that cannot be read and are not
// skipped.
func checkAll(leaves []*Leaf, skip func(i int) bool) error {
	var errs []error
	for i, l := range leaves {
		if l.meta.Err != nil && (skip == nil || !skip(i)) {
			errs = append(errs, l.meta.err())
		}
	}
	return errors.Join(errs...)
}

// Metadata describes the leaf. Its slices must not be changed.
func (l *Leaf) Metadata() *LeafMetadata { return &l.meta }

// DType returns the type of the elements; array.Invalid if the leaf has none.
func (l *Leaf) DType() array.DType { return l.meta.DType }

// Shape returns the dimensions of an array; the caller may keep and change the
// slice.
func (l *Leaf) Shape() []int { return slices.Clone(l.meta.Shape) }

// Sharding returns the sharding that an array was saved with, or nil. For a jax.Array
// whose sharding is not recorded, which has none in its Metadata, it is that of the host.
// The array that is loaded gets that sharding, and so is saved again as a jax.Array.
func (l *Leaf) Sharding() *sharding.Sharding {
	if l.meta.Sharding == nil && l.meta.ValueType == jaxArray && !l.meta.lostSharding {
		return hostSharding
	}
	return l.meta.Sharding
}

// hostSharding is that of an array in the memory of the host.
var hostSharding = sharding.Host()

// PRNGImpl returns the implementation of a PRNG key; "" for other leaves.
func (l *Leaf) PRNGImpl() string { return l.meta.PRNGImpl }

// isArray reports whether the leaf has elements.
func (l *Leaf) isArray() bool { return l.meta.DType != array.Invalid }

// Load reads the leaf. Its value is as orbax.Load gives it.
func (l *Leaf) Load(ctx context.Context) (any, error) {
	values, err := load(ctx, []*Leaf{l}, nil, nil, nil)
	if err != nil {
		return nil, l.named(err)
	}
	return values[0], nil
}

// Region reads the box of size elements at off of an array. Only the chunks that
// overlap it are read. A box that is not inside is an error that matches
// orbax.ErrShape.
func (l *Leaf) Region(ctx context.Context, off, size []int) (*array.Array, error) {
	n, err := l.box(off, size)
	if err != nil {
		return nil, err
	}
	reserved, err := memory.ReserveFor(int64(n), int64(l.meta.DType.Size()))
	if err != nil {
		return nil, l.wrap(err)
	}
	a, err := array.New(l.meta.DType, size, nil)
	reserved.Release()
	if err != nil {
		return nil, l.wrap(err)
	}
	if err := l.ReadRegion(ctx, a.Bytes(), off, size); err != nil {
		return nil, err
	}
	return a, nil
}

// ReadRegion is Region into the caller's memory: dst gets the elements row-major
// and little-endian, as package array has them.
func (l *Leaf) ReadRegion(ctx context.Context, dst []byte, off, size []int) error {
	n, err := l.box(off, size)
	if err != nil {
		return err
	}
	if len(dst) != n*l.meta.DType.Size() {
		return l.wrap(fmt.Errorf("%w: memory of %d bytes for %d elements of %v", fault.ErrShape, len(dst), n, l.meta.DType))
	}
	return l.named(read(ctx, []request{{
		leaf: l, off: off, size: size,
		dst: dst, dtype: l.meta.DType, dstShape: size, dstOff: make([]int, len(size)),
	}}, l.cache))
}

// box returns the number of elements of a box, which must lie in the array.
func (l *Leaf) box(off, size []int) (int, error) {
	if err := l.meta.err(); err != nil {
		return 0, err
	}
	if !l.isArray() {
		return 0, l.wrap(fmt.Errorf("%w: it is %v, which has no regions", fault.ErrLeafType, l.meta.Spec()))
	}
	box, err := strided.Of(l.meta.Shape)
	if err == nil {
		box, err = box.Box(off, size)
	}
	return box.Len(), l.wrap(err)
}

// named returns err as one of the leaf, unless it names a leaf already: as one of a
// context that has ended, or of a checkpoint that is closed, does not.
func (l *Leaf) named(err error) error {
	if _, ok := errors.AsType[*fault.Leaf](err); ok {
		return err
	}
	return l.wrap(err)
}

func (l *Leaf) wrap(err error) error { return fault.OfLeaf(l.meta.Path.String(), err) }
