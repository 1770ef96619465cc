package strided

import "github.com/go-orbax/orbax/internal/region"

// Run reports whether a box of the source is one run of the view: all elements of the box
// lie in the view and are contiguous in its row-major order, in the row-major order of
// the box. It returns the start of the run in the view and its length. The reader of the
// box can then write into the memory of that run.
//
// A box that exceeds the source, or the view, has no run; an empty box has an empty one.
// Run does not find runs that exist by coincidence, because the step from the end of one
// row of a reshaped view to the next equals the step inside the box.
func (v View) Run(off, size []int) (first, n int, ok bool) {
	if region.CheckBox("", v.source, off, size) != nil {
		return 0, 0, false
	}
	box := View{source: v.source, shape: size, strides: denseStrides(v.source, 1)}
	n = box.Len()
	if n == 0 {
		return 0, 0, true
	}
	if v.Len() < n {
		return 0, 0, false
	}
	at := 0
	for i, o := range off {
		at += o * box.strides[i]
	}
	first, ok = v.find(at)
	if !ok {
		return 0, 0, false
	}

	// Both are compared from their last digits. The view must have each digit below the
	// first digit of the box whole, from 0.
	want, have := box.digits(), v.digits()
	c := len(have)
	for b := len(want) - 1; b >= 0; b-- {
		c--
		if c < 0 || want[b].src != have[c].src {
			return 0, 0, false
		}
		at := first / have[c].dst % have[c].n
		if b > 0 && (at != 0 || want[b].n != have[c].n) || at+want[b].n > have[c].n {
			return 0, 0, false
		}
	}
	return first, n, true
}

// find returns the index of a source element in the row-major order of the view, which
// must have elements.
func (v View) find(linear int) (index int, ok bool) {
	rest := linear - v.offset
	if rest < 0 {
		return 0, false
	}
	axes := v.digits()
	bySource(axes)
	for _, a := range axes {
		i := rest / a.src
		if i >= a.n {
			return 0, false
		}
		rest -= i * a.src
		index += i * a.dst
	}
	return index, rest == 0
}
