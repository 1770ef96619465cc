package region

import (
	"fmt"
	"math"

	"github.com/go-orbax/orbax/internal/fault"
)

// NumElements returns the number of elements of an array. It returns an error if a
// dimension is negative or the product overflows.
func NumElements(shape []int) (int, error) {
	n := 1
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("%w: negative dimension in %v", fault.ErrShape, shape)
		}
		if d != 0 && n > math.MaxInt/d {
			return 0, fmt.Errorf("%w: %v has too many elements", fault.ErrShape, shape)
		}
		n *= d
	}
	return n, nil
}

// NumBytes returns the size of an array whose elements have item bytes. It returns an
// error if the size overflows.
func NumBytes(shape []int, item int) (int, error) {
	n, err := NumElements(shape)
	if err != nil {
		return 0, err
	}
	if item < 1 || n > math.MaxInt/item {
		return 0, fmt.Errorf("%w: %v of %d bytes each", fault.ErrShape, shape, item)
	}
	return n * item, nil
}

// CheckMemory returns an error unless an array with elements of item bytes has exactly
// have bytes. which names the array in the message.
func CheckMemory(which string, have int, shape []int, item int) error {
	n, err := NumBytes(shape, item)
	if err != nil {
		return err
	}
	if n != have {
		return fmt.Errorf("%w: %s of shape %v and elements of %d bytes has %d bytes of memory", fault.ErrShape, which, shape, item, have)
	}
	return nil
}

// CheckBox returns an error unless the box lies inside the array. which names the array
// in the message.
func CheckBox(which string, shape, off, size []int) error {
	if len(off) != len(shape) || len(size) != len(shape) {
		return fmt.Errorf("%w: box %v at %v in %s of shape %v: ranks differ", fault.ErrShape, size, off, which, shape)
	}
	for i, d := range shape {
		if off[i] < 0 || size[i] < 0 || size[i] > d || off[i] > d-size[i] {
			return fmt.Errorf("%w: box %v at %v exceeds %s of shape %v", fault.ErrShape, size, off, which, shape)
		}
	}
	return nil
}
