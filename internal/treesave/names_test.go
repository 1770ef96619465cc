package treesave

import (
	"slices"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/zarr"
)

func TestIsKeyOf(t *testing.T) {
	for _, c := range []struct {
		format, rank int
		yes, no      []string
	}{
		{3, 0, []string{"c", "zarr.json"}, []string{"c/0", "", "0", ".zarray"}},
		{3, 1, []string{"c/0", "c/117"}, []string{"c", "c/0/1", "c/x", "c/", "0"}},
		{3, 2, []string{"c/0/1", "c/10/20"}, []string{"c/0", "c/0/", "c//0"}},
		{2, 0, []string{"0", ".zarray"}, []string{"c", "0.0", "zarr.json"}},
		{2, 2, []string{"0.0", "12.7"}, []string{"0", "0.0.0", "0.x"}},
	} {
		m, err := zarr.New(zarr.Options{Format: c.format, Shape: slices.Repeat([]int{2}, c.rank), DType: array.Int8})
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range c.yes {
			if !isKeyOf(m, key) {
				t.Errorf("format %d, rank %d: %q is none", c.format, c.rank, key)
			}
		}
		for _, key := range c.no {
			if isKeyOf(m, key) {
				t.Errorf("format %d, rank %d: %q is one", c.format, c.rank, key)
			}
		}
	}
}
