package view

import (
	"cmp"
	"slices"

	"github.com/go-orbax/orbax/sharding"
)

// meets reports whether two boxes have elements in common.
func meets(b, c *sharding.Box) bool {
	for i := range b.Offset {
		if b.Size[i] == 0 || c.Size[i] == 0 || b.Offset[i] >= endOf(c, i) || c.Offset[i] >= endOf(b, i) {
			return false
		}
	}
	return true
}

// endOf returns where a box ends along an axis.
func endOf(b *sharding.Box, axis int) int { return b.Offset[axis] + b.Size[axis] }

// sameBox reports whether two boxes are equal.
func sameBox(b, c *sharding.Box) bool {
	return slices.Equal(b.Offset, c.Offset) && slices.Equal(b.Size, c.Size)
}

// boxTree finds the boxes that have elements in common with another box. The boxes of the
// shards of an array form a grid, and the tree finds those in it without a look at others.
//
// A node that has children is divided along one axis between places that no box reaches
// across. Boxes that hold all others of their node belong to the node itself. So do boxes
// that cannot be divided.
type boxTree struct {
	boxes    []sharding.Box
	numbers  []int // of the boxes of the node itself
	axis     int
	children []boxTree // ascending along the axis
	lo, hi   int       // the extent of the node along the axis of its parent
}

// newBoxTree makes a tree of the boxes with the given numbers. It keeps both slices, and
// reorders the numbers.
func newBoxTree(boxes []sharding.Box, numbers []int) boxTree {
	t := boxTree{boxes: boxes}
	if t.divide(numbers) {
		return t
	}
	t.numbers = numbers
	if len(numbers) == 1 {
		return t
	}
	all := boxes[numbers[0]]
	for _, n := range numbers {
		all = around(&all, &boxes[n])
	}
	k := 0
	for i, n := range numbers {
		if sameBox(&boxes[n], &all) {
			numbers[k], numbers[i] = n, numbers[k]
			k++
		}
	}
	if k > 0 && t.divide(numbers[k:]) {
		t.numbers = numbers[:k]
	}
	return t
}

// divide makes the children of a node that has the given boxes, if there are places along
// an axis that no box reaches across.
func (t *boxTree) divide(numbers []int) bool {
	if len(numbers) < 2 {
		return false
	}
	for t.axis = range t.boxes[numbers[0]].Offset {
		if t.divideAlong(numbers); t.children != nil {
			return true
		}
	}
	return false
}

// divideAlong is divide for one axis.
func (t *boxTree) divideAlong(numbers []int) {
	at := func(n int) int { return t.boxes[n].Offset[t.axis] }
	byStart := func(x, y int) int { return cmp.Compare(at(x), at(y)) }
	if !slices.IsSortedFunc(numbers, byStart) {
		slices.SortFunc(numbers, byStart)
	}
	begin, end := 0, endOf(&t.boxes[numbers[0]], t.axis)
	child := func(next int) {
		lo := at(numbers[begin])
		c := newBoxTree(t.boxes, numbers[begin:next])
		c.lo, c.hi = lo, end
		t.children = append(t.children, c)
	}
	for i, n := range numbers {
		if i > begin && at(n) >= end { // a box without elements ends where it begins
			child(i)
			begin = i
		}
		end = max(end, endOf(&t.boxes[n], t.axis))
	}
	if begin > 0 {
		child(len(numbers))
	}
}

// apart calls f with the numbers of boxes that cannot be divided, or of those that hold all
// others of their node. Boxes of two calls have no elements in common.
func (t *boxTree) apart(f func(numbers []int)) {
	if len(t.numbers) > 0 {
		f(t.numbers)
		return
	}
	for i := range t.children {
		t.children[i].apart(f)
	}
}

// find appends the numbers of the boxes that have elements in common with b.
func (t *boxTree) find(found []int, b *sharding.Box) []int {
	for _, n := range t.numbers {
		if meets(&t.boxes[n], b) {
			found = append(found, n)
		}
	}
	first, _ := slices.BinarySearchFunc(t.children, b.Offset, func(c boxTree, off []int) int {
		return cmp.Compare(c.hi, off[t.axis]+1)
	})
	for i := first; i < len(t.children) && t.children[i].lo < endOf(b, t.axis); i++ {
		found = t.children[i].find(found, b)
	}
	return found
}
