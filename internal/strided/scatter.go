package strided

import (
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/region"
)

// Scatter copies the elements that the view has of a box of the source to their places.
// src holds the box, size elements along each axis from off, dense and row-major. dst is
// a dense row-major array of shape dstShape; the view fills the box of its own shape at
// dstOff in it. Scatter does not copy elements of the box that the view lacks, and writes
// no other byte of dst. Elements have item bytes. The memory must not overlap.
//
// Scatter checks everything before it moves the first byte. If a box does not lie in its
// array, or memory does not have the size of its shape, the error matches ErrShape. Boxes
// that share no element may be scattered concurrently.
func (v View) Scatter(dst []byte, dstShape, dstOff []int, src []byte, off, size []int, item int) error {
	if item < 1 {
		return fmt.Errorf("%w: elements of %d bytes", fault.ErrShape, item)
	}
	if err := region.CheckBox("the destination", dstShape, dstOff, v.shape); err != nil {
		return err
	}
	if err := region.CheckBox("the source", v.source, off, size); err != nil {
		return err
	}
	if err := region.CheckMemory("the destination", len(dst), dstShape, item); err != nil {
		return err
	}
	if err := region.CheckMemory("the box", len(src), size, item); err != nil {
		return err
	}
	if v.Len() == 0 || len(src) == 0 {
		return nil
	}

	strides := denseStrides(dstShape, item)
	at := 0
	for i, o := range dstOff {
		at += o * strides[i]
	}
	s := scatter{dst: dst, src: src, item: item}
	factors := v.factor(strides)
	s.groups = make([]boxed, len(factors))
	step := item
	for i, g := range factors {
		s.groups[len(factors)-1-i] = newBoxed(g, v.source, off, size, step)
		for _, n := range size[g.from:g.to] {
			step *= n
		}
	}
	for _, g := range s.groups {
		if g.misses() {
			return nil
		}
	}
	s.loops = make([]axis, 0, 2*len(v.source)+len(v.shape))
	s.group(0, at, 0)
	return nil
}

// boxed is a group and its intersection with a box: stretches of the same length.
type boxed struct {
	group
	step    int    // bytes in the memory of the box between neighbours along the group
	low     int    // start of the first stretch, relative to the start of the view
	length  int    // of each stretch
	rows    []axis // the other stretches: src is along the group, dst unused; outermost first
	reaches []int  // for each axis of the view, the distance that the later axes span
}

// newBoxed intersects a group with the box of the source.
func newBoxed(g group, source, off, size []int, step int) boxed {
	b := boxed{group: g, step: step, low: -g.start, length: 1}
	whole := true // all later axes are whole
	unit := 1
	for i := g.to - 1; i >= g.from; i-- {
		b.low += off[i] * unit
		if whole {
			b.length *= size[i]
		} else {
			b.rows = append([]axis{{n: size[i], src: unit}}, b.rows...)
		}
		whole = whole && size[i] == source[i]
		unit *= source[i]
	}
	b.reaches = make([]int, len(g.axes))
	for i := range g.axes {
		b.reaches[i] = span(g.axes[i+1:])
	}
	return b
}

// misses reports whether the box ends before the first element of the view
// along the group or begins after the last.
func (b *boxed) misses() bool {
	return b.low > span(b.axes) || b.low+span(b.rows)+b.length <= 0
}

// scatter is one call of Scatter. It divides the elements to copy into nests of loops.
// Group by group, outermost first, it finds the index ranges of the view in which all
// elements lie in the box. Once every group has a range, copyLoops copies.
type scatter struct {
	dst, src []byte
	item     int
	groups   []boxed // outermost first
	loops    []axis  // of the earlier groups; in bytes
}

// group handles group k and the later groups. dst and src are the positions of the first
// element in the view and of the first in the box.
func (s *scatter) group(k, dst, src int) {
	if k == len(s.groups) {
		copyLoops(s.dst, s.src, dst, src, s.loops, s.item)
		return
	}
	s.rows(k, s.groups[k].rows, s.groups[k].low, dst, src)
}

// rows handles the stretches of group k along rows. The first of them begins at low. It
// returns the position in the box after the last.
func (s *scatter) rows(k int, rows []axis, low, dst, src int) int {
	g := &s.groups[k]
	if len(rows) == 0 {
		s.stretch(k, 0, low, low+g.length, dst, src-low*g.step)
		return src + g.length*g.step
	}
	for i := range rows[0].n {
		src = s.rows(k, rows[1:], low+i*rows[0].src, dst, src)
	}
	return src
}

// stretch handles elements of the view along the axes of group k from level on: those
// whose place along the group is at least low and below high. Places are relative to the
// element with index 0 along these axes. That element goes to dst, and would be at src in
// the memory of the box.
func (s *scatter) stretch(k, level, low, high, dst, src int) {
	g := &s.groups[k]
	if level == len(g.axes) {
		if low <= 0 && high > 0 {
			s.group(k+1, dst, src)
		}
		return
	}
	a, reach := g.axes[level], g.reaches[level]
	// Index i covers the places i·a.src to i·a.src+reach. For the indices from begin to
	// end all of these are in the stretch; for the indices before and after some may be.
	begin := max(0, floorDiv(low+a.src-1, a.src))
	end := min(a.n, floorDiv(high-1-reach, a.src)+1)
	part := func(i int) {
		if i >= 0 && i < a.n {
			s.stretch(k, level+1, low-i*a.src, high-i*a.src, dst+i*a.dst, src+i*a.src*g.step)
		}
	}
	if reach > 0 {
		part(begin - 1)
	}
	if begin < end {
		depth := len(s.loops)
		if end-begin > 1 {
			s.loops = append(s.loops, axis{end - begin, a.src * g.step, a.dst})
		}
		for _, in := range g.axes[level+1:] {
			s.loops = append(s.loops, axis{in.n, in.src * g.step, in.dst})
		}
		s.group(k+1, dst+begin*a.dst, src+begin*a.src*g.step)
		s.loops = s.loops[:depth]
	}
	if reach > 0 {
		part(max(begin, end))
	}
}
