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

// Leaf is a leaf that has not been read. It is stored in a checkpoint, or made from other
// leaves. Several goroutines may use it. A leaf that is an array implements
// [array.Reader] and can be saved; the save reads it piece by piece while it writes.
type Leaf struct {
	meta LeafMetadata

	pieces []piece  // for an array: together they fill it
	stored [1]piece // the memory of pieces, for an array that is stored as it is
	value  any      // for other leaves

	homes []*home     // of the leaf and all leaves that it is made from
	cache *chunkCache // for a leaf that is read in small pieces
}

var _ array.Reader = (*Leaf)(nil)

// piece is a part of a leaf that comes from one stored array.
type piece struct {
	array Array
	dtype array.DType   // of the stored array
	view  strided.View  // the elements of the stored array that the piece has
	casts []array.DType // the dtypes that they are converted to, one after the other
	at    []int         // where in the leaf the box begins that the piece fills
}

// NewArray returns the leaf that m describes. Its elements are all those of a, with the
// same dtype and shape.
func NewArray(m LeafMetadata, a Array) (*Leaf, error) {
	whole, err := strided.Of(m.Shape)
	if err != nil {
		return nil, err
	}
	l := &Leaf{meta: m, stored: [1]piece{{array: a, dtype: m.DType, view: whole, at: origin(len(m.Shape))}}}
	l.pieces = l.stored[:]
	return l, nil
}

// zeros is the origin of arrays of the usual ranks.
var zeros [8]int

// origin returns the index of the first element of an array. The caller must not change
// it.
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

// NewBroken returns a leaf that cannot be read because of err. m holds the facts that are
// known about it; if m.DType is [array.Invalid], not even the kind of the leaf is known.
// Every method that needs the leaf's value returns err, and a leaf that is made from it
// is broken too.
func NewBroken(m LeafMetadata, err error) *Leaf {
	m.Err = err
	if m.DType == array.Invalid {
		m.Kind, m.Shape = tree.KindInvalid, nil
	}
	return &Leaf{meta: m}
}

// brokenOf returns a broken leaf if one of the leaves cannot be read, for an operation
// that makes a leaf from them. It returns nil if all can be read.
func brokenOf(path tree.Path, leaves ...*Leaf) *Leaf {
	for _, l := range leaves {
		if err := l.meta.err(); err != nil {
			return NewBroken(LeafMetadata{Path: path}, err)
		}
	}
	return nil
}

// checkAll returns the errors of the leaves that cannot be read, except those that skip
// skips.
func checkAll(leaves []*Leaf, skip func(i int) bool) error {
	var errs []error
	for i, l := range leaves {
		if l.meta.Err != nil && (skip == nil || !skip(i)) {
			errs = append(errs, l.meta.err())
		}
	}
	return errors.Join(errs...)
}

// Metadata returns the description of the leaf. The caller must not change its slices.
func (l *Leaf) Metadata() *LeafMetadata { return &l.meta }

// DType returns the type of the elements, [array.Invalid] if the leaf has none.
func (l *Leaf) DType() array.DType { return l.meta.DType }

// Shape returns the dimensions of an array. The caller may keep and change the slice.
func (l *Leaf) Shape() []int { return slices.Clone(l.meta.Shape) }

// Sharding returns the sharding that an array was saved with, or nil. If the sharding of
// a jax.Array is not recorded, so that its [LeafMetadata] has none, Sharding returns
// [sharding.Host]. A load gives the array this sharding, so that a later save stores it
// as a jax.Array again.
func (l *Leaf) Sharding() *sharding.Sharding {
	if l.meta.Sharding == nil && l.meta.ValueType == jaxArray && !l.meta.lostSharding {
		return hostSharding
	}
	return l.meta.Sharding
}

// hostSharding is the sharding of an array in the memory of the host.
var hostSharding = sharding.Host()

// PRNGImpl returns the name of the generator of PRNG keys; "" for other leaves.
func (l *Leaf) PRNGImpl() string { return l.meta.PRNGImpl }

// isArray reports whether the leaf has elements.
func (l *Leaf) isArray() bool { return l.meta.DType != array.Invalid }

// Load reads the leaf. The value has the Go type that orbax.Load gives it.
func (l *Leaf) Load(ctx context.Context) (any, error) {
	values, err := load(ctx, []*Leaf{l}, nil, nil)
	if err != nil {
		return nil, l.named(err)
	}
	return values[0], nil
}

// Region reads the box of size elements at off from an array. It reads only the chunks
// that overlap the box. A box that exceeds the array is an error that matches
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

// ReadRegion reads the box of size elements at off into dst. dst gets the elements
// row-major and little-endian, in the form of package array. The errors are those of
// [Leaf.Region].
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

// named adds the leaf's name to err, unless err names a leaf already. The errors of an
// ended context and of a closed checkpoint name none.
func (l *Leaf) named(err error) error {
	if _, ok := errors.AsType[*fault.Leaf](err); ok {
		return err
	}
	return l.wrap(err)
}

func (l *Leaf) wrap(err error) error { return fault.OfLeaf(l.meta.Path.String(), err) }
