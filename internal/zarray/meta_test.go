package zarray

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The chunks of an array are the same, whether or not their places are kept.
func TestArrayFormPlaces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rank := rapid.IntRange(0, 3).Draw(t, "rank")
		dims := func(name string, lo, hi int) []int {
			return rapid.SliceOfN(rapid.IntRange(lo, hi), rank, rank).Draw(t, name)
		}
		doc := fmt.Appendf(nil, `{"zarr_format": 2, "shape": %s, "chunks": %s, "dtype": "<i2", "order": "C", "fill_value": 0, "filters": null, "compressor": null}`,
			jsonInts(dims("shape", 0, 6)), jsonInts(dims("chunk", 1, 4)))
		forms := Metas{}
		kept, err := forms.Parse(2, doc, false)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := forms.Parse(2, doc, false); again != kept || err != nil {
			t.Fatalf("parsed again: %v", err)
		}
		if kept.few == nil {
			t.Skip("many chunks")
		}
		made := *kept
		made.few = nil
		if got, want := slices.Collect(kept.Keys()), slices.Collect(made.Keys()); !slices.Equal(got, want) {
			t.Fatalf("keys %q, want %q", got, want)
		}
		off, size := dims("off", 0, 6), dims("size", 0, 6)
		show := func(f *Meta) (all []string) {
			for p := range f.overlapping(off, size) {
				all = append(all, fmt.Sprint(*p))
			}
			return all
		}
		if got, want := show(kept), show(&made); !slices.Equal(got, want) {
			t.Fatalf("box of %v at %v\n got %q\nwant %q", size, off, got, want)
		}
	})
}

func jsonInts(list []int) string {
	b := []byte{'['}
	for i, n := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Append(b, n)
	}
	return string(append(b, ']'))
}
