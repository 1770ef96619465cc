package inspect

import (
	"slices"
	"testing"
)

func TestClosest(t *testing.T) {
	leaves := []string{"params.dense.bias", "params.dense.kernel", "step", "opt.mu"}
	for _, c := range []struct {
		name string
		want []string
	}{
		{"params.dense.kernal", []string{"params.dense.kernel"}},
		{"kernel", []string{"params.dense.kernel"}},
		{"Step", []string{"step"}},
		{"setp", []string{"step"}},
		{"dense", []string{"params.dense.bias", "params.dense.kernel"}},
		{"zzz", nil},
		{"", nil},
	} {
		if got := Closest(c.name, leaves, 3); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.name, got, c.want)
		}
	}
}
