package view

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/sharding"
)

// drawBox draws a box of at most most elements along each axis.
func drawBox(t *rapid.T, rank, most int, what string) (b sharding.Box) {
	for range rank {
		b.Offset = append(b.Offset, rapid.IntRange(0, 7).Draw(t, what+" offset"))
		b.Size = append(b.Size, rapid.IntRange(1, most).Draw(t, what+" size"))
	}
	return b
}

func TestBoxTreeFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rank := rapid.IntRange(0, 3).Draw(t, "rank")
		most := rapid.SampledFrom([]int{2, 3, 8}).Draw(t, "most") // small boxes can be divided
		var boxes []sharding.Box
		var numbers []int
		for i := range rapid.IntRange(1, 10).Draw(t, "boxes") {
			b := drawBox(t, rank, most, "box")
			if rank > 0 && rapid.IntRange(0, 5).Draw(t, "empty") == 0 {
				b.Size[rapid.IntRange(0, rank-1).Draw(t, "axis")] = 0
			}
			boxes, numbers = append(boxes, b), append(numbers, i)
		}
		tree := newBoxTree(boxes, numbers)
		finds := func(b sharding.Box) {
			var want []int
			for i := range boxes {
				if meets(&boxes[i], &b) {
					want = append(want, i)
				}
			}
			got := tree.find(nil, &b)
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Fatalf("%v meets %v of %v, found %v", b, want, boxes, got)
			}
		}
		finds(drawBox(t, rank, most, "wanted"))
		for i := range boxes { // one element at a time, along each axis
			for axis := range rank {
				b := sharding.Box{Offset: slices.Clone(boxes[i].Offset), Size: slices.Repeat([]int{1}, rank)}
				for range boxes[i].Size[axis] {
					finds(b)
					b.Offset[axis]++
				}
			}
		}
	})
}

// gridBoxes returns the boxes of rows times columns parts of an array, times several leaves, of
// which only each step-th part is wanted.
func gridBoxes(rows, columns, leaves, step int) (boxes []sharding.Box) {
	for range leaves {
		for i := 0; i < rows*columns; i += step {
			boxes = append(boxes, sharding.Box{Offset: []int{i / columns * 3, i % columns * 5}, Size: []int{3, 5}})
		}
	}
	return boxes
}

// depth returns the largest number of nodes on a way down the tree, and the largest number
// of boxes in a node.
func (t *boxTree) depth() (depth, most int) {
	most = len(t.numbers)
	for i := range t.children {
		d, m := t.children[i].depth()
		depth, most = max(depth, d), max(most, m)
	}
	return depth + 1, most
}

// A search for the shards that have elements of a chunk looks at few others, however many
// there are: each axis divides them at once, and a leaf has only equal boxes.
func TestBoxTreeOfGrid(t *testing.T) {
	for _, c := range []struct{ rows, columns, leaves, step, most int }{
		{1, 4096, 1, 1, 1}, {4096, 1, 1, 1, 1}, {64, 64, 1, 1, 1}, {64, 64, 2, 1, 2}, {4096, 1, 1, 2, 1}, {1, 4096, 3, 2, 3}, {64, 64, 1, 3, 1},
	} {
		boxes := gridBoxes(c.rows, c.columns, c.leaves, c.step)
		numbers := make([]int, len(boxes))
		for i := range numbers {
			numbers[i] = (i*7919 + 5) % len(boxes) // in no order
		}
		tree := newBoxTree(boxes, numbers)
		if depth, most := tree.depth(); depth > 3 || most > c.most {
			t.Errorf("%+v: the tree is %d deep, with %d boxes in a node", c, depth, most)
		}
	}
	// A leaf that wants all of the array beside one that wants shards of it.
	boxes := append(gridBoxes(64, 64, 1, 1), sharding.Box{Offset: []int{0, 0}, Size: []int{64 * 3, 64 * 5}})
	numbers := make([]int, len(boxes))
	for i := range numbers {
		numbers[i] = i
	}
	tree := newBoxTree(boxes, numbers)
	if depth, most := tree.depth(); depth > 3 || most > 1 {
		t.Errorf("with the whole array: the tree is %d deep, with %d boxes in a node", depth, most)
	}
}
