package inspect

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/view"
)

// TestSpan compares spans with Python's rules, spelled out element by element.
func TestSpan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 9).Draw(t, "n")
		bound := func(name string, lo int) *int {
			return rapid.Ptr(rapid.OneOf(rapid.IntRange(lo, 12), rapid.Just(1<<62)), true).Draw(t, name)
		}
		s := span{start: bound("start", -12), stop: bound("stop", -12), step: bound("step", 1)}
		elements := make([]int32, n)
		for i := range elements {
			elements[i] = int32(i)
		}
		leaf, err := view.Constant(nil, array.Of(elements, n))
		if err != nil {
			t.Fatal(err)
		}
		var want []int32
		for i := range n {
			from := or(s.start, 0)
			if from < 0 {
				from += n
			}
			from = max(from, 0)
			to := or(s.stop, n)
			if to < 0 {
				to += n
			}
			if i >= from && i < to && (i-from)%or(s.step, 1) == 0 {
				want = append(want, int32(i))
			}
		}
		got, err := s.of(leaf, 0)
		if err != nil {
			t.Fatal(err)
		}
		a, err := got.Region(t.Context(), []int{0}, got.Shape())
		if err != nil {
			t.Fatal(err)
		}
		if w := array.Of(want, len(want)); !a.Equal(w) {
			t.Fatalf("%v, want %v", a, want)
		}
	})
}

func or(n *int, otherwise int) int {
	if n == nil {
		return otherwise
	}
	return *n
}

func FuzzParseRegion(f *testing.F) {
	for _, text := range []string{"", "0", "-1, 2", "::", "1:2:3", ":,:-1", "9:2:0", "a", "1:2:3:4", "99999999999999999999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		region, err := parseRegion(text)
		if err != nil {
			return
		}
		for _, s := range region {
			if s.index && s.start == nil || s.step != nil && *s.step < 1 {
				t.Fatalf("%+v", s)
			}
		}
	})
}
