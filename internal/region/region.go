// Package region has the arithmetic of row-major arrays and of boxes in them: their sizes
// in memory, and the runs of memory that make up a box.
package region

import "slices"

// runAxis returns the first of the axes that together make one run of a region: the
// region spans all later axes.
func runAxis(shape, size []int) int {
	axis := len(shape)
	for axis > 0 && (axis == len(shape) || size[axis] == shape[axis]) {
		axis--
	}
	return axis
}

// Run reports whether a region of an array is one run of elements. first and n are the
// index of its first element and its length.
func Run(shape, off, size []int) (first, n int, ok bool) {
	axis := runAxis(shape, size)
	n, ok = 1, true
	for i, d := range shape {
		first = first*d + off[i]
		n *= size[i]
		ok = ok && (i >= axis || size[i] == 1)
	}
	return first, n, ok
}

// EachRun calls f for every contiguous run of a region of an array, in row-major order. f
// gets the offset of the run in the array and its length, in bytes. The region must not
// be empty.
func EachRun(shape, off, size []int, item int, f func(at int64, n int) error) error {
	axis := runAxis(shape, size)
	run := item
	for _, n := range size[axis:] {
		run *= n
	}
	index := slices.Clone(off)
	for {
		at := 0
		for i, d := range shape {
			at = at*d + index[i]
		}
		if err := f(int64(at*item), run); err != nil {
			return err
		}
		i := axis - 1
		for ; i >= 0; i-- {
			if index[i]++; index[i] < off[i]+size[i] {
				break
			}
			index[i] = off[i]
		}
		if i < 0 {
			return nil
		}
	}
}
