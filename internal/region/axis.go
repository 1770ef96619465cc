package region

import (
	"fmt"
	"slices"

	"github.com/go-orbax/orbax/internal/fault"
)

// CheckAxis returns an error that matches ErrShape unless an array of the given shape
// has the axis.
func CheckAxis(shape []int, axis int) error {
	switch n := len(shape); {
	case axis >= 0 && axis < n:
		return nil
	case n == 0:
		return fmt.Errorf("%w: there is no axis %d; what has the shape [] has no axes", fault.ErrShape, axis)
	case n == 1:
		return fmt.Errorf("%w: there is no axis %d; the only axis of %v is 0", fault.ErrShape, axis, shape)
	default:
		return fmt.Errorf("%w: there is no axis %d; the axes of %v are 0 to %d", fault.ErrShape, axis, shape, n-1)
	}
}

// CheckIndex returns an error that matches ErrShape unless i is an index along the axis,
// which an array of the given shape must have.
func CheckIndex(shape []int, axis, i int) error {
	if i >= 0 && i < shape[axis] {
		return nil
	}
	return fmt.Errorf("%w: index %d is outside of axis %d, which has %s", fault.ErrShape, i, axis, elements(shape[axis]))
}

// CheckSlice returns an error that matches ErrShape unless start:stop:step lies inside
// the axis, which an array of the given shape must have.
func CheckSlice(shape []int, axis, start, stop, step int) error {
	var wrong string
	switch {
	case step < 1:
		wrong = fmt.Sprintf("its step is %d, and must be 1 or more", step)
	case start < 0:
		wrong = fmt.Sprintf("it begins at %d, and the first element is 0", start)
	case stop > shape[axis]:
		wrong = fmt.Sprintf("it ends at %d, and the axis has %s", stop, elements(shape[axis]))
	case stop < start:
		wrong = fmt.Sprintf("it begins at %d, and ends before that, at %d", start, stop)
	default:
		return nil
	}
	return fmt.Errorf("%w: the slice %d:%d:%d of axis %d cannot be taken: %s", fault.ErrShape, start, stop, step, axis, wrong)
}

// CheckOrder returns an error that matches ErrShape unless perm names each axis of an
// array of the given shape once.
func CheckOrder(shape, perm []int) error {
	order := slices.Sorted(slices.Values(perm))
	ok := len(order) == len(shape)
	for i, axis := range order {
		ok = ok && axis == i
	}
	if ok {
		return nil
	}
	return fmt.Errorf("%w: the axes %v do not name each axis of %v once", fault.ErrShape, perm, shape)
}

func elements(n int) string {
	if n == 1 {
		return "1 element"
	}
	return fmt.Sprintf("%d elements", n)
}
