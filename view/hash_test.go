package view_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
	"github.com/go-orbax/orbax/zarr"
)

func numbers(n int) []float32 {
	f := make([]float32, n)
	for i := range f {
		f[i] = float32(i)
	}
	return f
}

func mustOf(t testing.TB, v any) *view.Tree {
	t.Helper()
	of, err := view.Of(v)
	if err != nil {
		t.Fatal(err)
	}
	return of
}

func mustHash(t testing.TB, of *view.Tree) view.Digest {
	t.Helper()
	sum, leaves, err := of.Hash(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(leaves) != of.Len() {
		t.Fatalf("%d digests of %d leaves", len(leaves), of.Len())
	}
	return sum
}

// TestDigestsOfNumPy compares digests with those that testdata/digest.py prints.
func TestDigestsOfNumPy(t *testing.T) {
	int4, err := array.New(array.Int4, []int{2}, []byte{0xff, 7})
	if err != nil {
		t.Fatal(err)
	}
	state := map[string]any{
		"params": map[string]any{
			"w": array.Of(numbers(6), 2, 3),
			"b": array.Of([]array.BF16{array.ToBF16(1), array.ToBF16(-0.5)}),
		},
		"opt":  []any{[]bool{true, false}, map[string]any{}, []any{}, tree.Tuple{}, nil, "text"},
		"q":    int4,
		"step": 1000,
		"none": array.Of([]float64{}, 0, 3),
		"7":    complex64(1 + 2i),
	}
	if got, want := mustHash(t, mustOf(t, state)).String(), "orbax1:639b40e7813f5bddda7c2518ef3fa31bf6eeab1673868f04234acd946bb45bde"; got != want {
		t.Errorf("state: %s, want %s", got, want)
	}
	sum, leaves, err := mustOf(t, numbers(700_000)).Hash(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := sum.String(), "orbax1:5183a2e7f681d0a06ea28af6db5f5ac34ea32c86ae19fe005c0e5db38e6f38d5"; got != want {
		t.Errorf("bare: %s, want %s", got, want)
	}
	if got, want := leaves[0].String(), "orbax1:66dc5c78d75bfedb9bac263eff9cac8eb2aef2c356581b3ba0e898589003243e"; got != want {
		t.Errorf("leaf: %s, want %s", got, want)
	}
}

// drawArray draws an array of noise.
func drawArray(t *rapid.T) *array.Array {
	d := array.DType(rapid.IntRange(int(array.Bool), int(array.Complex128)).Draw(t, "dtype"))
	shape := rapid.SliceOfN(rapid.SampledFrom([]int{0, 1, 2, 3, 5, 8}), 0, 3).Draw(t, "shape")
	a, err := array.New(d, shape, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(rapid.Uint64Range(0, 3).Draw(t, "seed"), 0))
	for i := range a.Bytes() {
		a.Bytes()[i] = byte(r.Uint32())
	}
	array.Canonicalize(d, a.Bytes())
	return a
}

func drawState(t *rapid.T, depth int) any {
	kinds := []string{"array", "array", "array", "int", "string", "none", "empty"}
	if depth > 0 {
		kinds = append(kinds, "dict", "dict", "list")
	}
	switch rapid.SampledFrom(kinds).Draw(t, "kind") {
	case "array":
		return drawArray(t)
	case "int":
		return rapid.IntRange(0, 3).Draw(t, "int")
	case "string":
		return rapid.SampledFrom([]string{"", "a", "b\n"}).Draw(t, "string")
	case "none":
		return nil
	case "empty":
		return rapid.SampledFrom([]any{map[string]any{}, []any{}, tree.Tuple{}}).Draw(t, "empty")
	case "dict":
		keys := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "0", "1", "kernel"}), 1, 3, rapid.ID[string]).Draw(t, "keys")
		m := map[string]any{}
		for _, k := range keys {
			m[k] = drawState(t, depth-1)
		}
		return m
	}
	return []any{drawState(t, depth-1), drawState(t, depth-1)}
}

func drawStorage(t *rapid.T) handler.StorageOptions {
	s := handler.StorageOptions{
		Zarr2:      rapid.Bool().Draw(t, "zarr2"),
		PlainFiles: rapid.Bool().Draw(t, "files"),
	}
	s.ChunkByteSize = rapid.SampledFrom([]int{0, 16, 64}).Draw(t, "chunk")
	if rapid.Bool().Draw(t, "zstd") {
		s.Compression = zarr.Zstd(3)
	}
	return s
}

// TestHashDoesNotDependOnStorage saves a state in any way, and what was loaded of
// it once more in another.
func TestHashDoesNotDependOnStorage(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		var state any = map[string]any{"state": drawState(t, 2)}
		of, err := view.Of(state)
		if err != nil {
			t.Fatal(err)
		}
		want, _, err := of.Hash(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			n++
			path := filepath.Join(dir, fmt.Sprint(n))
			if err := orbax.Save(ctx, path, state, orbax.Storage(drawStorage(t))); err != nil {
				t.Fatal(err)
			}
			if got, err := orbax.Hash(ctx, path); got != want || err != nil {
				t.Fatalf("%v, %v, want %v", got, err, want)
			}
			if state, err = orbax.Load(ctx, path); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestHashAndDiffAgree compares states that are drawn of few values: they have one
// digest if and only if Diff finds nothing.
func TestHashAndDiffAgree(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		depth := rapid.IntRange(0, 2).Draw(rt, "depth")
		a, b := mustOf(t, drawState(rt, depth)), mustOf(t, drawState(rt, depth))
		diffs, err := view.Diff(t.Context(), a, b, view.DiffOptions{})
		if err != nil {
			rt.Fatal(err)
		}
		if same := mustHash(t, a) == mustHash(t, b); same != (len(diffs) == 0) {
			rt.Fatalf("same digest: %v, but %+v", same, diffs)
		}
	})
}

// TestHashNoticesEveryChange makes the smallest changes of a state, each of which
// must give another digest.
func TestHashNoticesEveryChange(t *testing.T) {
	base := func() map[string]any {
		return map[string]any{"a": array.Of([]float32{1, 2, 3, 4}, 2, 2), "s": "x", "l": []any{1, 2}, "e": nil, "k": key(t, "rbg")}
	}
	changes := map[string]func(m map[string]any){
		"shape": func(m map[string]any) { m["a"] = array.Of([]float32{1, 2, 3, 4}, 4) },
		"rank":  func(m map[string]any) { m["a"] = array.Of([]float32{1, 2, 3, 4}, 1, 2, 2) },
		"dtype": func(m map[string]any) {
			m["a"] = array.Of([]int32{0x3f800000, 0x40000000, 0x40400000, 0x40800000}, 2, 2)
		},
		"key":           func(m map[string]any) { m["b"] = m["a"]; delete(m, "a") },
		"deeper":        func(m map[string]any) { m["a"] = map[string]any{"a": m["a"]} },
		"string":        func(m map[string]any) { m["s"] = "y" },
		"string, None":  func(m map[string]any) { m["s"] = nil },
		"dict for list": func(m map[string]any) { m["l"] = map[string]any{"0": 1, "1": 2} },
		"order":         func(m map[string]any) { m["l"] = []any{2, 1} },
		"empty":         func(m map[string]any) { m["e"] = []any{} },
		"generator":     func(m map[string]any) { m["k"] = key(t, "unsafe_rbg") },
		"no key":        func(m map[string]any) { m["k"] = array.Of([]uint32{1, 2, 3, 4}) },
		"one less":      func(m map[string]any) { delete(m, "e") },
	}
	for bit := range 4 * 4 * 8 {
		changes[fmt.Sprint("bit ", bit)] = func(m map[string]any) { m["a"].(*array.Array).Bytes()[bit/8] ^= 1 << (bit % 8) }
	}
	seen := map[view.Digest]string{mustHash(t, mustOf(t, base())): "no change"}
	for name, change := range changes {
		m := base()
		change(m)
		sum := mustHash(t, mustOf(t, m))
		if other, ok := seen[sum]; ok {
			t.Errorf("%s and %s have one digest", name, other)
		}
		seen[sum] = name
	}
	same := map[string]any{
		"a": array.Of([]float32{1, 2, 3, 4}, 2, 2), "s": "x", "e": nil, "k": key(t, "rbg"),
		"l": tree.Tuple{nil, array.ScalarOf(int64(2))},
	}
	same["l"].(tree.Tuple)[0], _ = array.New(array.Int64, nil, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	if sum := mustHash(t, mustOf(t, same)); seen[sum] != "no change" {
		t.Error("a tuple of arrays of rank 0 is not a list of numbers")
	}
}

func key(t testing.TB, impl string) *array.Array {
	k, err := array.PRNGKey(impl, array.Of([]uint32{1, 2, 3, 4}))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestDigestText(t *testing.T) {
	sum := mustHash(t, mustOf(t, 1))
	text, err := json.Marshal(sum)
	if err != nil {
		t.Fatal(err)
	}
	var back view.Digest
	if err := json.Unmarshal(text, &back); err != nil || back != sum {
		t.Errorf("%v, %v, want %v", back, err, sum)
	}
	for _, bad := range []string{"", "orbax1:", "orbax2:" + sum.String()[7:], sum.String() + "0", sum.String()[:70] + "g"} {
		t.Run(bad, func(t *testing.T) {
			before := back
			if err := back.UnmarshalText([]byte(bad)); !errors.Is(err, orbax.ErrUnsupported) || back != before {
				t.Error(err)
			}
		})
	}
}

// TestHashOfLargeLeaves hashes leaves that are read in several blocks, whatever
// their chunks are.
func TestHashOfLargeLeaves(t *testing.T) {
	a := array.Of(numbers(3<<20), 3<<10, 1<<10)
	want := mustHash(t, mustOf(t, map[string]any{"a": a}))
	for _, s := range []handler.StorageOptions{
		{},
		{ArrayOptions: handler.ArrayOptions{ChunkByteSize: 1 << 20}},
		{ArrayOptions: handler.ArrayOptions{ChunkByteSize: 3 << 20, ShardAxes: []int{1}}},
		{Zarr2: true, PlainFiles: true, ArrayOptions: handler.ArrayOptions{ChunkByteSize: 700 << 10, ShardAxes: []int{1}}},
	} {
		path := filepath.Join(t.TempDir(), "ckpt")
		if err := orbax.Save(t.Context(), path, map[string]any{"a": a}, orbax.Storage(s)); err != nil {
			t.Fatal(err)
		}
		if got, err := orbax.Hash(t.Context(), path); err != nil || got != want {
			t.Errorf("%+v: %v, %v, want %v", s, got, err, want)
		}
	}
	var halves []*view.Leaf
	for i := range 2 {
		rows := array.Of(numbers(3 << 20)[i*3<<19:][:3<<19], 3<<9, 1<<10)
		l, err := view.Constant(tree.Path{{Name: "a"}}, rows)
		if err != nil {
			t.Fatal(err)
		}
		halves = append(halves, l)
	}
	calls := 0
	made, err := view.Compute(tree.Path{{Name: "a"}}, array.Float32, a.Shape(), func(context.Context, []*array.Array) (*array.Array, error) {
		calls++
		return a, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	joined, err := view.Concat(tree.Path{{Name: "a"}}, 0, halves...)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*view.Leaf{made, joined} {
		if got := mustHash(t, view.New("", []*view.Leaf{l})); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
	if calls != 1 {
		t.Errorf("a function was called %d times", calls)
	}
}

// TestHashEnds checks that errors and interrupts end a hash.
func TestHashEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	big := mustOf(t, numbers(5<<20))
	if _, _, err := big.Hash(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	failing := failingReader{array.Of(numbers(6<<20), 6, 1<<20)}
	of := mustOf(t, map[string]any{"a": failing, "b": 1})
	if _, _, err := of.Hash(t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("a reader that fails: %v", err)
	}
	var side *view.SideError
	if _, err := view.Diff(t.Context(), mustOf(t, map[string]any{"a": failing.a, "b": 1}), of, view.DiffOptions{}); !errors.As(err, &side) || !side.B {
		t.Errorf("a second reader that fails: %v", err)
	}
}

var errBroken = errors.New("broken")

// failingReader is an array whose last row cannot be read.
type failingReader struct{ a *array.Array }

func (f failingReader) DType() array.DType { return f.a.DType() }

func (f failingReader) Shape() []int { return f.a.Shape() }

func (f failingReader) ReadRegion(ctx context.Context, dst []byte, off, size []int) error {
	if off[0]+size[0] == 6 {
		return errBroken
	}
	return f.a.ReadRegion(ctx, dst, off, size)
}

func TestOfKeepsKinds(t *testing.T) {
	got := mustOf(t, map[string]any{"a": []byte("x"), "b": 1, "c": "s", "d": nil, "e": array.Of([]int8{1})}).Metadata()
	want := []tree.Kind{tree.KindBytes, tree.KindScalar, tree.KindString, tree.KindEmpty, tree.KindArray}
	for i, l := range got.Leaves {
		if l.Kind != want[i] {
			t.Errorf("%v: %v", l.Path, l.Kind)
		}
	}
	if _, err := view.Of(func() {}); !errors.Is(err, orbax.ErrLeafType) {
		t.Errorf("a function: %v", err)
	}
	v, err := mustOf(t, []any{1, array.Of([]int8{1, 2})}).Load(t.Context())
	if l, ok := v.([]any); err != nil || !ok || l[0] != 1 || !slices.Equal(l[1].(*array.Array).Bytes(), []byte{1, 2}) {
		t.Errorf("%v, %v", v, err)
	}
}

func FuzzDigest(f *testing.F) {
	f.Add("orbax1:639b40e7813f5bddda7c2518ef3fa31bf6eeab1673868f04234acd946bb45bde")
	f.Add("orbax2:00")
	f.Add("sha256:")
	f.Fuzz(func(t *testing.T, text string) {
		var d view.Digest
		if err := d.UnmarshalText([]byte(text)); err != nil {
			if !errors.Is(err, orbax.ErrUnsupported) {
				t.Fatal(err)
			}
			return
		}
		var again view.Digest
		if err := again.UnmarshalText([]byte(d.String())); err != nil || again != d {
			t.Fatalf("%q: %v, %v", text, again, err)
		}
	})
}
