package strided

import (
	"fmt"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// Reshape returns a view of the same elements, in the same row-major order, under another
// shape. One dimension may be -1: its size follows from the others. As in NumPy, axes are
// split freely, and merged if the source has them one after the other. If the elements in
// that order are not a strided view of the source, or the shape has another number of
// elements, the error matches ErrShape.
func (v View) Reshape(shape ...int) (View, error) {
	shape, err := v.inferShape(shape)
	if err != nil {
		return View{}, err
	}
	strides := make([]int, len(shape))
	if v.Len() == 0 {
		for i := range strides {
			strides[i] = 1
		}
		v.shape, v.strides = shape, strides
		return v, nil
	}
	digits := v.digits()
	left, stride := 1, 1 // the rest of the last digit, which is not split off yet
	for i := len(shape) - 1; i >= 0; i-- {
		if left == 1 && len(digits) > 0 {
			last := digits[len(digits)-1]
			digits = digits[:len(digits)-1]
			left, stride = last.n, last.src
		}
		strides[i] = stride
		if left%shape[i] != 0 {
			return View{}, fmt.Errorf("%w: reshape of a view of shape %v to %v: in this order its elements are not evenly spaced in the stored array of shape %v; read it in its own shape first, then reshape the copy",
				fault.ErrShape, v.shape, shape, v.source)
		}
		left /= shape[i]
		stride *= shape[i]
	}
	v.shape, v.strides = shape, strides
	return v, nil
}

// inferShape returns a copy of shape with its -1 replaced. The result must have as many
// elements as the view.
func (v View) inferShape(shape []int) ([]int, error) {
	n := v.Len()
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%w: reshape of a view of shape %v to %v: %s", fault.ErrShape, v.shape, shape, fmt.Sprintf(format, args...))
	}
	full := slices.Clone(shape)
	if hole := slices.Index(full, -1); hole >= 0 {
		full[hole] = 1
		rest, err := array.NumElements(full)
		switch {
		case err != nil:
			return nil, fail("want dimensions of at least 0, one -1 at most, and %d elements", n)
		case rest == 0:
			return nil, fail("any size fits in place of -1")
		case n%rest != 0:
			return nil, fail("%d elements are no multiple of %d", n, rest)
		}
		full[hole] = n / rest
	}
	got, err := array.NumElements(full)
	if err != nil {
		return nil, err
	}
	if got != n {
		return nil, fail("%d elements do not fit %d", n, got)
	}
	return full, nil
}

// axis is one loop of a walk: n steps, and their distance in each of the two arrays.
type axis struct{ n, src, dst int }

// digits returns the axes of the view, in its order. It merges axes that the source has
// one after the other, and drops axes of one element. Counting through the digits gives
// the row-major order of the view. Their dst is that of a dense array with the shape of
// the view. The view must have elements.
func (v View) digits() []axis {
	return merge(v.axes(denseStrides(v.shape, 1)))
}

// axes returns the axes with more than one element, in the order of the view.
func (v View) axes(dst []int) []axis {
	axes := make([]axis, 0, len(v.shape))
	for i, n := range v.shape {
		if n > 1 {
			axes = append(axes, axis{n, v.strides[i], dst[i]})
		}
	}
	return axes
}

// merge joins, in place, neighbours that one loop can walk.
func merge(axes []axis) []axis {
	out := axes[:0]
	for _, a := range axes {
		if k := len(out) - 1; k >= 0 && out[k].src == a.n*a.src && out[k].dst == a.n*a.dst {
			out[k] = axis{out[k].n * a.n, a.src, a.dst}
			continue
		}
		out = append(out, a)
	}
	return out
}

// bySource sorts axes by their distance in the source, largest first.
func bySource(axes []axis) {
	slices.SortFunc(axes, func(a, b axis) int { return b.src - a.src })
}

// span returns the distance in the source from the first to the last element.
func span(axes []axis) int {
	n := 0
	for _, a := range axes {
		n += (a.n - 1) * a.src
	}
	return n
}

// floorDiv returns a/b rounded down, for positive b.
func floorDiv(a, b int) int {
	if a < 0 {
		return -((-a-1)/b + 1)
	}
	return a / b
}
