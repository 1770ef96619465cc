package tree_test

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

// layer is a part of a model that may be there twice.
type layer struct {
	W     []float32
	Bias  *array.Array
	Steps int
	Name  string
	Sub   *layer
	List  []layer
	Any   any
	M     map[string]int
}

// box is a node with a scalar of its own.
type box struct{ n int }

func (b *box) TreeFlatten() (any, error) { return map[string]any{"n": b.n}, nil }
func (b *box) TreeUnflatten(c any) error { b.n = c.(map[string]any)["n"].(int); return nil }

// A target of which two places overlap is refused before anything is read: else one
// leaf would overwrite another.
func TestBindOverlap(t *testing.T) {
	floats := make([]float32, 12)
	bytesOf := func(f []float32) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(&f[0])), 4*len(f)) }
	over := func(f []float32, shape ...int) *array.Array {
		a, err := array.New(array.Float32, shape, bytesOf(f))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	one, two := []float32{1}, []float32{1, 1}
	var grid [4][3]float32
	flat := unsafe.Slice(&grid[0][0], 12)
	eight := []float32{0, 1, 2, 3, 4, 5, 6, 7}
	pool := &dense{floats[2:4]}
	for name, c := range map[string]struct{ target, saved any }{
		"slices":            {[]any{floats[:8], floats[4:]}, []any{eight, eight}},
		"by one":            {[]any{floats[4:], floats[:5]}, []any{eight, eight[:5]}},
		"slice and array":   {[]any{floats[:8], over(floats[6:], 2, 3)}, []any{eight, over(eight[:6], 2, 3)}},
		"arrays":            {[]any{over(floats[:4], 2, 2), over(floats[2:6], 4)}, []any{over(eight[:4], 2, 2), over(eight[:4], 4)}},
		"other dtype":       {[]any{floats[:4], bytesOf(floats)[3:19]}, []any{eight[:4], make([]byte, 16)}},
		"rows of a matrix":  {[]any{grid[:], flat[2:5]}, []any{[][]float32{{1, 2, 3}, {1, 2, 3}, {1, 2, 3}, {1, 2, 3}}, eight[:3]}},
		"pointer to one":    {[]any{floats, &floats[3]}, []any{append(eight, 0, 0, 0, 0), float32(3)}},
		"pointer to all":    {[]any{one, &one[0]}, []any{[]float32{5}, float32(5)}},
		"pointer to fields": {[]any{two, (*struct{ A, B float32 })(unsafe.Pointer(&two[0]))}, []any{two, map[string]any{"A": float32(1), "B": float32(1)}}},
		"tensor":            {map[string]any{"a": floats[:3], "b": pool}, map[string]any{"a": eight[:3], "b": eight[:2]}},
		"many": {
			[]any{floats[:2], floats[2:4], floats[4:6], floats[5:7], floats[7:9], floats[8:]},
			[]any{eight[:2], eight[:2], eight[:2], eight[:2], eight[:2], eight[:4]},
		},
	} {
		t.Run(name, func(t *testing.T) {
			target := reflect.New(reflect.TypeOf(c.target))
			target.Elem().Set(reflect.ValueOf(c.target))
			slots, _, err := tree.Bind(target.Interface(), specsOf(flatten(t, c.saved)), tree.BindOptions{Adapters: []tree.Adapter{tensors}})
			var leaf *fault.Leaf
			if !errors.Is(err, fault.ErrStructure) || !errors.As(err, &leaf) || !strings.Contains(err.Error(), "overlaps") || slots != nil {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Places that are the same memory, or lie inside of one another, are loaded if the
// checkpoint has the same for both, and refused by finish otherwise.
func TestBindSameMemory(t *testing.T) {
	for name, c := range map[string]struct {
		target      func() any
		same, other any // saved twice, and saved the second time
	}{
		"slices":   {func() any { s := []float32{9, 9}; return []any{s, s} }, []float32{1, 2}, []float32{1, 3}},
		"inside":   {func() any { s := []float32{9, 9}; return []any{s, s[1:]} }, nil, nil},
		"int":      {func() any { x := 9; return []*int{&x, &x} }, 1, 2},
		"string":   {func() any { x := "9"; return []*string{&x, &x} }, "a", "b"},
		"nil":      {func() any { x := []int64(nil); return []*[]int64{&x, &x} }, []int64{1}, []int64{1, 2}},
		"array":    {func() any { x := (*array.Array)(nil); return []**array.Array{&x, &x} }, array.Of([]int8{1}), array.Of([]int8{2})},
		"any":      {func() any { x := any(nil); return []*any{&x, &x} }, map[string]any{"a": 1, "b": []any{"x"}}, map[string]any{"a": 1, "b": []any{"y"}}},
		"template": {func() any { x := any(1); return []*any{&x, &x} }, 5, 6},
		"map":      {func() any { x := map[string]int{"a": 0}; return []map[string]int{x, x} }, map[string]int{"a": 5}, map[string]int{"a": 6}},
		"empty map": {func() any { x := map[string]any{}; return []map[string]any{x, x} },
			map[string]any{"a": 5}, map[string]any{"a": 5, "b": 5}},
		"node":                  {func() any { x := &box{}; return []*box{x, x} }, map[string]any{"n": 5}, map[string]any{"n": 6}},
		"tensor":                {func() any { x := &dense{[]float32{9}}; return []*dense{x, x} }, []float32{1}, []float32{2}},
		"tensors of one memory": {func() any { v := []float32{9}; return []*dense{{v}, {v}} }, []float32{1}, []float32{2}},
		"struct": {func() any { x := &layer{}; return []*layer{x, x} },
			layer{[]float32{1}, array.Of([]int8{1}), 1, "a", &layer{Steps: 3}, []layer{{Steps: 4}}, []any{1}, map[string]int{"a": 1}},
			layer{[]float32{1}, array.Of([]int8{1}), 1, "a", &layer{Steps: 5}, []layer{{Steps: 4}}, []any{1}, map[string]int{"a": 1}}},
		"none": {func() any { x := &layer{}; return []*layer{x, x} }, layer{}, layer{M: map[string]int{"a": 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			same, other := []any{c.same, c.same}, []any{c.same, c.other}
			if name == "inside" {
				same, other = []any{[]float32{1, 2}, []float32{2}}, []any{[]float32{1, 2}, []float32{1}}
			}
			target := c.target()
			if err := load(&target, flatten(t, same), tensors); err != nil {
				t.Errorf("equal values: %v", err)
			}
			again, err := tree.Flatten(target, tensors)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := show(again), show(flatten(t, same)); got != want {
				t.Errorf("loaded %s, want %s", got, want)
			}
			target = c.target()
			err = load(&target, flatten(t, other), tensors)
			if !errors.Is(err, fault.ErrStructure) || !strings.Contains(err.Error(), "shares the memory") {
				t.Errorf("different values: %v", err)
			}
		})
	}
}

// Any way of cutting one slice into the leaves of a target is refused if two of them
// overlap, and loaded right otherwise.
func TestBindCuts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		memory := make([]int16, 40)
		type span struct{ lo, hi int }
		var spans []span
		var target, saved []any
		overlap := false
		for range 1 + r.IntN(6) {
			lo := r.IntN(len(memory))
			s := span{lo, lo + 1 + r.IntN(min(8, len(memory)-lo))}
			for _, o := range spans {
				if s.lo < o.hi && o.lo < s.hi {
					overlap = true
				}
			}
			spans = append(spans, s)
			target = append(target, memory[s.lo:s.hi])
			v := make([]int16, s.hi-s.lo)
			for i := range v {
				v[i] = int16(r.Uint32()) // different everywhere, nearly
			}
			saved = append(saved, v)
		}
		want := flatten(t, saved)
		err := load(&target, want)
		switch {
		case overlap && !errors.Is(err, fault.ErrStructure):
			t.Fatalf("%v: %v", spans, err)
		case !overlap && (err != nil || show(flatten(t, target)) != show(want)):
			t.Fatalf("%v: %v", spans, err)
		}
	}
}

// Two loads that go on at the same time do not write the same memory.
func TestBindShared(t *testing.T) {
	floats := make([]float32, 8)
	shared := new(tree.Targets)
	bind := func(f []float32) error {
		specs := specsOf(flatten(t, f))
		_, _, err := tree.Bind(&f, specs, tree.BindOptions{Shared: shared})
		return err
	}
	if err := errors.Join(bind(floats[:3]), bind(floats[5:]), bind(floats[3:4])); err != nil {
		t.Fatal(err)
	}
	for _, f := range [][]float32{floats[:1], floats[2:5], floats, floats[3:4], floats[7:]} {
		if err := bind(f); !errors.Is(err, fault.ErrStructure) {
			t.Errorf("%d floats: %v", len(f), err)
		}
	}
	if err := bind(floats[4:5]); err != nil {
		t.Error(err)
	}
}
