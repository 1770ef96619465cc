// Package strided has the index arithmetic of views: slices, transposes and reshapes of a
// dense row-major array that are described but not carried out.
//
// A loader describes the wanted elements of a stored array as a [View], finds the stored
// chunks that hold them, and moves each chunk straight to its place:
//
//	v, err := strided.Of(stored)                // the whole array
//	v, err = v.Index(0, 7)                      // layer 7 of a stack of layers
//	v, err = v.Transpose(1, 0)
//	off, size := v.Bounds()                     // the chunks worth reading
//	err = v.Scatter(dst, v.Shape(), zero, chunk, chunkOff, chunkSize, 4)
//
// The package does no I/O and knows nothing of element types. A View is immutable, so all
// of its methods may be called concurrently.
package strided

import (
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/region"
)

// View selects elements of a dense row-major source array. It is itself an array: its
// element at index i is the source element with the linear index offset + Σ
// i[k]·strides[k]. The zero View is the view of a scalar.
//
// Only Of and the methods of View make views, which keeps them nested: for each axis with
// more than one element, the stride exceeds the distance between the first and the last
// element that the axes of smaller stride can reach. No source element therefore occurs
// twice, and dividing a linear index by the strides, largest first, finds its place in
// the view.
//
// If the source has no elements, strides and offset have no meaning; they are kept small,
// so that arithmetic on them cannot overflow.
type View struct {
	source  []int
	shape   []int
	strides []int // in elements, positive
	offset  int
}

// Of returns the view of a whole array of the given shape. If a dimension is negative, or
// the number of elements overflows an int, the error matches ErrShape.
func Of(shape []int) (View, error) {
	n, err := array.NumElements(shape)
	if err != nil {
		return View{}, err
	}
	shape = slices.Clone(shape)
	strides := denseStrides(shape, 1)
	if n == 0 {
		for i := range strides {
			strides[i] = 1
		}
	}
	return View{source: shape, shape: shape, strides: strides}, nil
}

// denseStrides returns the distances between neighbours along each axis of a dense
// row-major array whose elements have size unit.
func denseStrides(shape []int, unit int) []int {
	strides := make([]int, len(shape))
	for i := len(shape) - 1; i >= 0; i-- {
		strides[i] = unit
		unit *= shape[i]
	}
	return strides
}

// Shape returns the shape of the view. The caller may keep and change the slice.
func (v View) Shape() []int { return slices.Clone(v.shape) }

// Len returns the number of elements of the view.
func (v View) Len() int {
	if slices.Contains(v.shape, 0) {
		return 0
	}
	n := 1
	for _, d := range v.shape {
		n *= d
	}
	return n
}

// Identity reports whether the view is the whole source in its own order and shape.
func (v View) Identity() bool {
	if !slices.Equal(v.shape, v.source) {
		return false
	}
	if v.Len() == 0 {
		return true
	}
	dense := denseStrides(v.source, 1)
	for i, d := range v.shape {
		if d > 1 && v.strides[i] != dense[i] {
			return false
		}
	}
	return v.offset == 0
}

// Box returns the view of size elements along each axis, from off. If the box does not
// lie in the view, the error matches ErrShape.
func (v View) Box(off, size []int) (View, error) {
	if err := region.CheckBox("the view", v.shape, off, size); err != nil {
		return View{}, err
	}
	v.shape = slices.Clone(size)
	if v.Len() > 0 {
		for i, o := range off {
			v.offset += o * v.strides[i]
		}
	}
	return v, nil
}

// Slice returns the view of the indices start, start+step and so on, up to but not
// including stop, of one axis. It means the same as start:stop:step in NumPy, without
// NumPy's leniency: unless 0 ≤ start ≤ stop ≤ the size of the axis and step ≥ 1, the
// error matches ErrShape.
func (v View) Slice(axis, start, stop, step int) (View, error) {
	if err := region.CheckAxis(v.shape, axis); err != nil {
		return View{}, err
	}
	if err := region.CheckSlice(v.shape, axis, start, stop, step); err != nil {
		return View{}, err
	}
	n := 0
	if stop > start {
		n = (stop-start-1)/step + 1
		v.offset += start * v.strides[axis]
	}
	v.shape = slices.Clone(v.shape)
	v.shape[axis] = n
	if n > 1 { // for one element, a large step could make the product overflow
		v.strides = slices.Clone(v.strides)
		v.strides[axis] *= step
	}
	return v, nil
}

// Index returns the view at index i of one axis, without that axis. If the axis or the
// index does not exist, the error matches ErrShape.
func (v View) Index(axis, i int) (View, error) {
	if err := region.CheckAxis(v.shape, axis); err != nil {
		return View{}, err
	}
	if err := region.CheckIndex(v.shape, axis, i); err != nil {
		return View{}, err
	}
	v.offset += i * v.strides[axis]
	v.shape = slices.Delete(slices.Clone(v.shape), axis, axis+1)
	v.strides = slices.Delete(slices.Clone(v.strides), axis, axis+1)
	return v, nil
}

// Transpose returns the view with its axes permuted: axis k of the result is axis
// perm[k]. Without arguments it reverses the axes. Unless perm has each axis once, the
// error matches ErrShape.
func (v View) Transpose(perm ...int) (View, error) {
	rank := len(v.shape)
	shape, strides := make([]int, rank), make([]int, rank)
	if len(perm) == 0 {
		for k := range rank {
			shape[k], strides[k] = v.shape[rank-1-k], v.strides[rank-1-k]
		}
		v.shape, v.strides = shape, strides
		return v, nil
	}
	if err := region.CheckOrder(v.shape, perm); err != nil {
		return View{}, err
	}
	for k, axis := range perm {
		shape[k], strides[k] = v.shape[axis], v.strides[axis]
	}
	v.shape, v.strides = shape, strides
	return v, nil
}
