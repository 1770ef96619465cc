package region

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The runs of a region are its elements in row-major order, each run as long as
// it can be.
func TestRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape := rapid.SliceOfN(rapid.IntRange(1, 4), 0, 4).Draw(t, "shape")
		off, size := make([]int, len(shape)), make([]int, len(shape))
		for i, d := range shape {
			off[i] = rapid.IntRange(0, d-1).Draw(t, "offset")
			size[i] = rapid.IntRange(1, d-off[i]).Draw(t, "size")
		}
		const item = 2
		var want []int
		elements := 1
		for _, d := range shape {
			elements *= d
		}
		for e := range elements {
			inside, rest := true, e
			for i := len(shape) - 1; i >= 0; i-- {
				x := rest % shape[i]
				rest /= shape[i]
				inside = inside && off[i] <= x && x < off[i]+size[i]
			}
			if inside {
				want = append(want, e)
			}
		}
		var got []int
		runs := 0
		err := EachRun(shape, off, size, item, func(at int64, n int) error {
			runs++
			for b := at; b < at+int64(n); b += item {
				got = append(got, int(b/item))
			}
			return nil
		})
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%v at %v of %v: %v, %v, want %v", size, off, shape, got, err, want)
		}
		first, n, ok := Run(shape, off, size)
		if one := want[len(want)-1]-want[0] == len(want)-1; ok != one || ok && (runs != 1 || first != want[0] || n != len(want)) {
			t.Fatalf("%v at %v of %v: contiguous %d, %d, %v, elements %v in %d runs", size, off, shape, first, n, ok, want, runs)
		}
	})
}
