package handler

import (
	"context"
	"iter"
	"slices"

	"github.com/go-orbax/orbax/view"
)

// joinedArray is an array whose elements are in several places, in each some that follow
// one another. It is made of boxes that lie there as they are.
type joinedArray struct {
	rank  int
	boxes []joinedBox // in the order of their elements
}

type joinedBox struct {
	box
	stored *rawArray
}

// Parts returns runs of the boxes that overlap the box of size elements at off.
func (a *joinedArray) Parts(ctx context.Context, off, size []int) iter.Seq2[*view.Part, error] {
	return func(yield func(*view.Part, error) bool) { a.runs(ctx, off, size, yield) }
}

func (a *joinedArray) runs(ctx context.Context, off, size []int, yield func(*view.Part, error) bool) {
	for _, b := range a.boxes {
		at, n := make([]int, a.rank), make([]int, a.rank)
		empty := false
		for i := range at {
			at[i] = max(off[i], b.off[i]) - b.off[i]
			n[i] = min(off[i]+size[i], b.off[i]+b.size[i]) - b.off[i] - at[i]
			empty = empty || n[i] <= 0
		}
		if empty {
			continue
		}
		for p, err := range b.stored.Parts(ctx, at, n) {
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

// box is a part of an array.
type box struct{ off, size []int }

func (b box) elements() int {
	n := 1
	for _, d := range b.size {
		n *= d
	}
	return n
}

// boxesOf returns the boxes that n elements of an array fill from the first one on, in
// row-major order: rows that are there in part, whole rows between them, and the same
// within rows.
func boxesOf(shape []int, first, n int) []box {
	if n <= 0 {
		return nil
	}
	if len(shape) == 0 {
		return []box{{}}
	}
	row := 1
	for _, d := range shape[1:] {
		row *= d
	}
	var boxes []box
	within := func(i, first, n int) { // elements of row i
		for _, b := range boxesOf(shape[1:], first, n) {
			boxes = append(boxes, box{append([]int{i}, b.off...), append([]int{1}, b.size...)})
		}
	}
	i, skip := first/row, first%row
	if skip > 0 {
		head := min(n, row-skip)
		within(i, skip, head)
		i, n = i+1, n-head
	}
	if rows := n / row; rows > 0 {
		boxes = append(boxes, box{
			append([]int{i}, make([]int, len(shape)-1)...),
			append([]int{rows}, shape[1:]...),
		})
		i, n = i+rows, n-rows*row
	}
	within(i, 0, n)
	return boxes
}
