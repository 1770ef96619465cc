package strided

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
)

func must(t testing.TB) func(View, error) View {
	return func(v View, err error) View {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestErrors(t *testing.T) {
	v := must(t)(Of([]int{4, 6}))
	tests := map[string]func() (View, error){
		"negative dimension":     func() (View, error) { return Of([]int{2, -1}) },
		"too many elements":      func() (View, error) { return Of([]int{1 << 32, 1 << 32}) },
		"box of another rank":    func() (View, error) { return v.Box([]int{0}, []int{1}) },
		"box past the end":       func() (View, error) { return v.Box([]int{3, 0}, []int{2, 1}) },
		"box that overflows":     func() (View, error) { return v.Box([]int{math.MaxInt, 0}, []int{2, 1}) },
		"negative size":          func() (View, error) { return v.Box([]int{3, 0}, []int{-1, 1}) },
		"slice of no axis":       func() (View, error) { return v.Slice(2, 0, 1, 1) },
		"slice of step 0":        func() (View, error) { return v.Slice(0, 0, 1, 0) },
		"slice backwards":        func() (View, error) { return v.Slice(0, 2, 1, 1) },
		"slice past the end":     func() (View, error) { return v.Slice(0, 0, 5, 1) },
		"slice before the start": func() (View, error) { return v.Slice(0, -1, 2, 1) },
		"index past the end":     func() (View, error) { return v.Index(0, 4) },
		"negative index":         func() (View, error) { return v.Index(0, -1) },
		"index of no axis":       func() (View, error) { return v.Index(-1, 0) },
		"axis twice":             func() (View, error) { return v.Transpose(1, 1) },
		"axis that is not there": func() (View, error) { return v.Transpose(0, 2) },
		"axis missing":           func() (View, error) { return v.Transpose(0) },
		"reshape to fewer":       func() (View, error) { return v.Reshape(4, 5) },
		"reshape with two -1":    func() (View, error) { return v.Reshape(-1, -1) },
		"reshape that leaves 4⅘": func() (View, error) { return v.Reshape(5, -1) },
		"reshape that leaves 0":  func() (View, error) { return v.Reshape(0, -1) },
		"reshape to -2":          func() (View, error) { return v.Reshape(-2, -12) },
		"reshape that overflows": func() (View, error) { return v.Reshape(math.MaxInt, math.MaxInt, -1) },
		"reshape of columns": func() (View, error) {
			w := must(t)(v.Transpose())
			return w.Reshape(-1)
		},
	}
	for name, f := range tests {
		if _, err := f(); !errors.Is(err, fault.ErrShape) {
			t.Errorf("%s: %v, want an error that matches ErrShape", name, err)
		}
	}
}

// TestNoElements is about shapes that have none, however large they are
// otherwise.
func TestNoElements(t *testing.T) {
	v := must(t)(Of([]int{0, 1 << 62, 1 << 62}))
	v = must(t)(v.Transpose())
	v = must(t)(v.Slice(0, 5, 1<<62, 1<<61))
	v = must(t)(v.Index(1, 1<<62-1))
	if v.Len() != 0 || !slices.Equal(v.Shape(), []int{2, 0}) {
		t.Errorf("%d elements, shape %v", v.Len(), v.Shape())
	}
	if err := v.Scatter(nil, []int{2, 0}, []int{0, 0}, nil, []int{0, 0, 0}, v.source, 4); err != nil {
		t.Error(err)
	}
	if first, n, ok := v.Run([]int{0, 7, 7}, []int{0, 1, 1}); first != 0 || n != 0 || !ok {
		t.Errorf("run of %d at %d: %v", n, first, ok)
	}
	if v = must(t)(v.Reshape(3, -1, 5)); !slices.Equal(v.Shape(), []int{3, 0, 5}) {
		t.Errorf("shape %v", v.Shape())
	}
}

func TestScalar(t *testing.T) {
	for _, v := range []View{{}, must(t)(Of(nil))} {
		if v.Len() != 1 || len(v.shape) != 0 || !v.Identity() {
			t.Errorf("%+v: %d elements", v, v.Len())
		}
		if _, n, ok := v.Run(nil, nil); n != 1 || !ok {
			t.Errorf("%+v: run of %d", v, n)
		}
		v = must(t)(v.Reshape(1, -1))
		dst := make([]byte, 3)
		if err := v.Scatter(dst, []int{1, 3}, []int{0, 1}, []byte{7}, nil, nil, 1); err != nil || dst[1] != 7 {
			t.Errorf("%v: %v", dst, err)
		}
	}
}

func TestRun(t *testing.T) {
	stack := must(t)(Of([]int{8, 4, 6}))
	layer := must(t)(stack.Index(0, 3))
	cols := must(t)(layer.Box([]int{0, 2}, []int{4, 3}))
	flat := must(t)(layer.Reshape(-1))
	tests := []struct {
		name      string
		v         View
		off, size []int
		first     int
		ok        bool
	}{
		{"whole", stack, []int{0, 0, 0}, []int{8, 4, 6}, 0, true},
		{"rows of a layer", stack, []int{3, 1, 0}, []int{1, 2, 6}, 78, true},
		{"rows of two layers", stack, []int{3, 1, 0}, []int{2, 2, 6}, 0, false},
		{"the layer", layer, []int{3, 0, 0}, []int{1, 4, 6}, 0, true},
		{"rows of the layer, flat", flat, []int{3, 1, 0}, []int{1, 2, 6}, 6, true},
		{"part of a row, flat", flat, []int{3, 1, 2}, []int{1, 1, 3}, 8, true},
		{"columns of the layer, flat", flat, []int{3, 1, 2}, []int{1, 2, 3}, 0, false},
		{"more than the layer", layer, []int{3, 0, 0}, []int{2, 4, 6}, 0, false},
		{"another layer", layer, []int{2, 0, 0}, []int{1, 4, 6}, 0, false},
		{"the columns", cols, []int{3, 1, 2}, []int{1, 3, 3}, 3, true},
		{"fewer columns", cols, []int{3, 1, 2}, []int{1, 3, 2}, 0, false},
		{"one row of fewer columns", cols, []int{3, 1, 3}, []int{1, 1, 2}, 4, true},
		{"outside of the source", cols, []int{3, 1, 3}, []int{1, 1, 4}, 0, false},
	}
	for _, tt := range tests {
		first, n, ok := tt.v.Run(tt.off, tt.size)
		want := product(tt.size)
		if !tt.ok {
			want = 0
		}
		if first != tt.first || n != want || ok != tt.ok {
			t.Errorf("%s: run of %d at %d, %v; want %d at %d, %v", tt.name, n, first, ok, want, tt.first, tt.ok)
		}
	}
}
