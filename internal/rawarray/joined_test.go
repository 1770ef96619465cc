package rawarray

import (
	"testing"

	"pgregory.net/rapid"
)

// The boxes of a run of elements have exactly these elements, in their order.
func TestBoxesOf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape := rapid.SliceOfN(rapid.IntRange(1, 4), 0, 4).Draw(t, "shape")
		total := Box{Size: shape}.Elements()
		first := rapid.IntRange(0, total).Draw(t, "first")
		n := rapid.IntRange(0, total-first).Draw(t, "n")
		next := first
		boxes := BoxesOf(shape, first, n)
		for _, b := range boxes {
			for k := range b.Elements() {
				at := 0 // position of element k of the box in the array
				for i, rest := 0, k; i < len(shape); i++ {
					inner := Box{Size: b.Size[i+1:]}.Elements()
					at = at*shape[i] + b.off[i] + rest/inner
					rest %= inner
				}
				if at != next {
					t.Fatalf("element %d where %d follows, in %v", at, next, boxes)
				}
				next++
			}
		}
		if next != first+n {
			t.Fatalf("the boxes end at %d, not at %d: %v", next, first+n, boxes)
		}
		if len(boxes) > 2*max(1, len(shape)) {
			t.Fatalf("%d boxes", len(boxes))
		}
	})
}
