package view_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/view"
)

func mustDiff(t testing.TB, a, b any, o view.DiffOptions) []view.LeafDiff {
	t.Helper()
	diffs, err := view.Diff(t.Context(), mustOf(t, a), mustOf(t, b), o)
	if err != nil {
		t.Fatal(err)
	}
	return diffs
}

func TestDiffOfStructure(t *testing.T) {
	f32, f64 := array.Of([]float32{1, 2}), array.Of([]float64{1, 2})
	cases := []struct {
		a, b any
		o    view.DiffOptions
		want string
	}{
		{map[string]any{"a": 1, "b": 2}, map[string]any{"b": 2, "c": 3}, view.DiffOptions{}, "[a: presence c: presence]"},
		{[]any{1, 2}, map[string]any{"0": 1, "1": 2}, view.DiffOptions{}, "[0: keys 1: keys]"},
		{[]any{1, 2}, map[string]any{"0": 1, "1": 2}, view.DiffOptions{IgnoreKeys: true}, "[]"},
		{map[string]any{"a.b": 1}, map[string]any{"a": map[string]any{"b": 2}}, view.DiffOptions{}, "[a.b: keys, values]"},
		{map[string]any{"a.b": 1}, map[string]any{"a": map[string]any{"b": 2}}, view.DiffOptions{IgnoreKeys: true}, "[a.b: values]"},
		{[]any{"x", nil, []any{}}, []any{nil, []any{}, 3}, view.DiffOptions{}, "[0: kind 1: kind 2: kind]"},
		{f32, f64, view.DiffOptions{}, "[: dtype]"},
		{f32, f64, view.DiffOptions{IgnoreDType: true}, "[]"},
		{f32, array.Of([]float32{1, 2}, 1, 2), view.DiffOptions{}, "[: shape]"},
		{f32, array.Of([]float64{1, 2}, 2, 1), view.DiffOptions{}, "[: dtype, shape]"},
		{f32, array.Of([]float32{1, 3}), view.DiffOptions{MetadataOnly: true}, "[]"},
		{"x", "y", view.DiffOptions{MetadataOnly: true}, "[]"},
		{"x", "y", view.DiffOptions{}, "[: values]"},
		{1, array.ScalarOf(int64(1)), view.DiffOptions{}, "[]"},
		{1, array.ScalarOf(int64(1)), view.DiffOptions{Kinds: true}, "[: kind]"},
		{[]byte("x"), array.Of([]uint8{'x'}), view.DiffOptions{}, "[]"},
		{[]byte("x"), array.Of([]uint8{'x'}), view.DiffOptions{Kinds: true}, "[: kind]"},
		{f32, f32.WithSharding(sharding.SingleDevice("cpu:0")), view.DiffOptions{}, "[]"},
		{f32, f32.WithSharding(sharding.SingleDevice("cpu:0")), view.DiffOptions{Shardings: true}, "[: sharding]"},
		{key(t, "rbg"), key(t, "unsafe_rbg"), view.DiffOptions{IgnoreDType: true}, "[: dtype]"},
		{key(t, "rbg"), array.Of([]uint32{1, 2, 3, 4}), view.DiffOptions{}, "[: dtype]"},
		{map[string]any{"a": 1, "b": 2}, map[string]any{"a": 2, "b": 3},
			view.DiffOptions{Only: func(m *view.LeafMetadata) bool { return m.Path.String() == "b" }}, "[b: values]"},
	}
	for _, c := range cases {
		var got []string
		for _, d := range mustDiff(t, c.a, c.b, c.o) {
			got = append(got, fmt.Sprintf("%s: %v", d.Name, d.In))
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%v and %v, %+v: %v, want %v", c.a, c.b, c.o, got, c.want)
		}
	}
}

func TestDiffOfValues(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	payload := math.Float64frombits(math.Float64bits(nan) ^ 1)
	zero := math.Copysign(0, -1)
	u := func(v ...uint64) *array.Array { return array.Of(v) }
	cases := []struct {
		a, b any
		o    view.DiffOptions
		want *view.ValuesDiff
	}{
		{[]float64{1, 2, 4}, []float64{1, 3, 5}, view.DiffOptions{}, &view.ValuesDiff{2, 3, []int{1}, 2.0, 3.0, 1, 1.0 / 3}},
		{[]float64{1, 2, 4}, []float64{1, 3, 5}, view.DiffOptions{RTol: 0.25}, &view.ValuesDiff{1, 3, []int{1}, 2.0, 3.0, 1, 1.0 / 3}},
		{[]float64{1, 2, 4}, []float64{1, 3, 5}, view.DiffOptions{ATol: 1}, nil},
		{[]float64{0, 1}, []float64{zero, 1}, view.DiffOptions{}, &view.ValuesDiff{1, 2, []int{0}, 0.0, zero, 0, 0}},
		{[]float64{0, 1}, []float64{zero, 1}, view.DiffOptions{ATol: 1e-9}, nil},
		{[]float64{nan}, []float64{nan}, view.DiffOptions{}, nil},
		{[]float64{nan}, []float64{nan}, view.DiffOptions{RTol: 1}, nil},
		{[]float64{nan, inf}, []float64{payload, inf}, view.DiffOptions{EqualNaN: true}, nil},
		{[]float64{nan}, []float64{1}, view.DiffOptions{ATol: inf}, &view.ValuesDiff{1, 1, []int{0}, nan, 1.0, inf, inf}},
		{[]float64{inf}, []float64{-inf}, view.DiffOptions{RTol: 1}, &view.ValuesDiff{1, 1, []int{0}, inf, -inf, inf, inf}},
		{[]float64{1}, []float64{inf}, view.DiffOptions{RTol: 1}, &view.ValuesDiff{1, 1, []int{0}, 1.0, inf, inf, inf}},
		{[]bool{true}, []bool{false}, view.DiffOptions{}, &view.ValuesDiff{1, 1, []int{0}, true, false, 1, 0}},
		{[]int64{math.MaxInt64}, []int64{math.MaxInt64 - 1}, view.DiffOptions{}, &view.ValuesDiff{1, 1, []int{0}, math.MaxInt64, math.MaxInt64 - 1, 1, 1 / float64(math.MaxInt64)}},
		{[]int64{math.MinInt64}, []int64{math.MaxInt64}, view.DiffOptions{}, &view.ValuesDiff{1, 1, []int{0}, math.MinInt64, math.MaxInt64, 1 << 64, 2}},
		{[]int64{-1}, u(math.MaxUint64), view.DiffOptions{IgnoreDType: true}, &view.ValuesDiff{1, 1, []int{0}, -1, uint64(math.MaxUint64), 1 << 64, 1}},
		{[]int8{-1, 5}, []int64{-1, 5}, view.DiffOptions{IgnoreDType: true}, nil},
		{[]int32{7}, []float32{7}, view.DiffOptions{IgnoreDType: true}, nil},
		{[]float32{1}, []complex128{1}, view.DiffOptions{IgnoreDType: true}, nil},
		{[]complex64{3 + 4i}, []complex64{0}, view.DiffOptions{}, &view.ValuesDiff{1, 1, []int{0}, complex64(3 + 4i), complex64(0), 5, 0}},
		{key(t, "rbg"), key(t, "rbg").Clone(), view.DiffOptions{ATol: 9}, nil},
		{"a", "b", view.DiffOptions{}, &view.ValuesDiff{1, 1, nil, "a", "b", 0, 0}},
	}
	for _, c := range cases {
		diffs := mustDiff(t, c.a, c.b, c.o)
		var got *view.ValuesDiff
		if len(diffs) > 0 {
			got = diffs[0].Values
		}
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", c.want) {
			t.Errorf("%v and %v, %+v:\n%+v, want\n%+v", c.a, c.b, c.o, got, c.want)
		}
	}
	other, err := array.PRNGKey("rbg", array.Of([]uint32{1, 2, 3, 5}))
	if err != nil {
		t.Fatal(err)
	}
	if d := mustDiff(t, key(t, "rbg"), other, view.DiffOptions{ATol: 9}); len(d) != 1 {
		t.Error("keys differ by a tolerance")
	}
	for _, o := range []view.DiffOptions{{RTol: -1}, {ATol: nan}} {
		if _, err := view.Diff(t.Context(), mustOf(t, 1), mustOf(t, 1), o); !errors.Is(err, orbax.ErrUsage) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// near is numpy.isclose, but for equal bits.
func near(a, b float64, bits bool, o view.DiffOptions) bool {
	switch {
	case bits:
		return true
	case math.IsNaN(a) || math.IsNaN(b):
		return o.EqualNaN && math.IsNaN(a) && math.IsNaN(b)
	case o.RTol == 0 && o.ATol == 0:
		return false
	case math.IsInf(a, 0) || math.IsInf(b, 0):
		return a == b
	}
	return math.Abs(a-b) <= o.ATol+o.RTol*math.Abs(b)
}

// TestDiffIsThatOfAModel compares floats of all types with a loop over their values.
func TestDiffIsThatOfAModel(t *testing.T) {
	values := []float64{0, math.Copysign(0, -1), 1, 1.0625, 2, -3, 240, math.NaN(), math.Inf(1), math.Inf(-1)}
	rapid.Check(t, func(rt *rapid.T) {
		d := array.DType(rapid.IntRange(int(array.Float4E2M1FN), int(array.Float64)).Draw(rt, "dtype"))
		n := rapid.IntRange(1, 6).Draw(rt, "n")
		draw := func(label string) *array.Array {
			a, err := array.Of(rapid.SliceOfN(rapid.SampledFrom(values), n*2, n*2).Draw(rt, label), 2, n).Cast(d)
			if err != nil {
				rt.Fatal(err)
			}
			return a
		}
		o := view.DiffOptions{
			RTol:     rapid.SampledFrom([]float64{0, 0.1, 1}).Draw(rt, "rtol"),
			ATol:     rapid.SampledFrom([]float64{0, 1}).Draw(rt, "atol"),
			EqualNaN: rapid.Bool().Draw(rt, "nan"),
		}
		a, b := draw("a"), draw("b")
		wideA, _ := a.Cast(array.Float64)
		wideB, _ := b.Cast(array.Float64)
		x, _ := array.Values[float64](wideA)
		y, _ := array.Values[float64](wideB)
		count, first := 0, -1
		for i := range x {
			at := i * d.Size()
			bits := bytes.Equal(a.Bytes()[at:][:d.Size()], b.Bytes()[at:][:d.Size()])
			if !near(x[i], y[i], bits, o) {
				if count++; count == 1 {
					first = i
				}
			}
		}
		diffs := mustDiff(t, a, b, o)
		if count == 0 {
			if len(diffs) > 0 {
				rt.Fatalf("%+v", diffs[0].Values)
			}
			return
		}
		if len(diffs) != 1 {
			rt.Fatalf("%d leaves differ, want %d elements of one", len(diffs), count)
		}
		v := diffs[0].Values
		if v.Count != count || v.Elements != len(x) || !slices.Equal(v.First, []int{first / n, first % n}) {
			rt.Fatalf("%+v, want %d, the first %d", v, count, first)
		}
	})
}

// TestDiffOfLargeLeaves compares arrays in chunks of one another's shape, and of
// others.
func TestDiffOfLargeLeaves(t *testing.T) {
	const rows, columns = 3 << 10, 1 << 10
	ctx := t.Context()
	other := numbers(rows * columns)
	for _, at := range [][2]int{{5, 7}, {5, 1000}, {1500, 3}, {rows - 1, columns - 1}} {
		other[at[0]*columns+at[1]]--
	}
	grids := []handler.ArrayOptions{
		{}, {ChunkByteSize: 1 << 20}, {ChunkByteSize: 3 << 20, ShardAxes: []int{1}}, {ChunkByteSize: 100 << 10},
	}
	for i, g := range grids {
		var trees [2]*view.Tree
		for k, data := range [][]float32{numbers(rows * columns), other} {
			s := handler.StorageOptions{ArrayOptions: g}
			if k == 1 {
				s.ArrayOptions = grids[(i+1)%len(grids)]
			}
			path := filepath.Join(t.TempDir(), "ckpt")
			if err := orbax.Save(ctx, path, map[string]any{"a": array.Of(data, rows, columns)}, orbax.Storage(s)); err != nil {
				t.Fatal(err)
			}
			ck, err := orbax.Open(ctx, path)
			if err != nil {
				t.Fatal(err)
			}
			if trees[k], err = ck.Tree(ctx); err != nil {
				t.Fatal(err)
			}
		}
		diffs, err := view.Diff(ctx, trees[0], trees[1], view.DiffOptions{})
		if err != nil || len(diffs) != 1 {
			t.Fatalf("%d leaves differ, %v", len(diffs), err)
		}
		want := &view.ValuesDiff{4, rows * columns, []int{5, 7}, float32(5*columns + 7), float32(5*columns + 6), 1, 1.0 / (5*columns + 6)}
		if !reflect.DeepEqual(diffs[0].Values, want) {
			t.Errorf("%+v: %+v, want %+v", g, diffs[0].Values, want)
		}
		if diffs, err = view.Diff(ctx, trees[0], trees[0], view.DiffOptions{}); err != nil || len(diffs) > 0 {
			t.Errorf("with itself: %v, %v", diffs, err)
		}
	}
}

func ExampleDiff() {
	saved, err := view.Of(map[string]any{"w": []float32{1, 2, 3}, "step": 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	now, err := view.Of(map[string]any{"w": []float32{1, 2.5, 3}, "step": 1, "lr": 0.1})
	if err != nil {
		fmt.Println(err)
		return
	}
	diffs, err := view.Diff(context.Background(), saved, now, view.DiffOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range diffs {
		fmt.Println(d.Name, d.In)
		if v := d.Values; v != nil {
			fmt.Printf("%d of %d; at %v %v and %v\n", v.Count, v.Elements, v.First, v.A, v.B)
		}
	}
	// Output:
	// lr presence
	// w values
	// 1 of 3; at [1] 2 and 2.5
}
