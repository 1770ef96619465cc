package rawarray

import (
	"context"
	"iter"
	"slices"

	"github.com/go-orbax/orbax/view"
)

// Joined is an array whose elements are stored in several runs. Each run consists of
// boxes that lie there without an encoding.
type Joined struct {
	Rank  int
	Boxes []JoinedBox // in the order of their elements
}

// JoinedBox is a box of a [Joined], with the place of its elements.
type JoinedBox struct {
	Box
	Stored *Array
}

// Chunks yields runs of the boxes that overlap the box of size elements at off.
func (a *Joined) Chunks(ctx context.Context, off, size []int) iter.Seq2[*view.Chunk, error] {
	return func(yield func(*view.Chunk, error) bool) { a.runs(ctx, off, size, yield) }
}

func (a *Joined) runs(ctx context.Context, off, size []int, yield func(*view.Chunk, error) bool) {
	for _, b := range a.Boxes {
		at, n := make([]int, a.Rank), make([]int, a.Rank)
		empty := false
		for i := range at {
			at[i] = max(off[i], b.off[i]) - b.off[i]
			n[i] = min(off[i]+size[i], b.off[i]+b.Size[i]) - b.off[i] - at[i]
			empty = empty || n[i] <= 0
		}
		if empty {
			continue
		}
		for p, err := range b.Stored.Chunks(ctx, at, n) {
			if err == nil {
				p.Offset = slices.Clone(p.Offset)
				for i := range p.Offset {
					p.Offset[i] += b.off[i]
				}
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// Box is a box of elements of an array.
type Box struct{ off, Size []int }

// Elements returns the number of elements in the box.
func (b Box) Elements() int {
	n := 1
	for _, d := range b.Size {
		n *= d
	}
	return n
}

// BoxesOf returns the boxes that n elements of an array fill in row-major order,
// beginning with element first. They are a part of a row, whole rows, and a part of a
// row. The parts of rows are divided in the same way.
func BoxesOf(shape []int, first, n int) []Box {
	if n <= 0 {
		return nil
	}
	if len(shape) == 0 {
		return []Box{{}}
	}
	row := 1
	for _, d := range shape[1:] {
		row *= d
	}
	var boxes []Box
	within := func(i, first, n int) { // elements of row i
		for _, b := range BoxesOf(shape[1:], first, n) {
			boxes = append(boxes, Box{append([]int{i}, b.off...), append([]int{1}, b.Size...)})
		}
	}
	i, skip := first/row, first%row
	if skip > 0 {
		head := min(n, row-skip)
		within(i, skip, head)
		i, n = i+1, n-head
	}
	if rows := n / row; rows > 0 {
		boxes = append(boxes, Box{
			append([]int{i}, make([]int, len(shape)-1)...),
			append([]int{rows}, shape[1:]...),
		})
		i, n = i+rows, n-rows*row
	}
	within(i, 0, n)
	return boxes
}
