package tree_test

import (
	"errors"
	"math"
	"math/big"
	"reflect"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

// load binds target to what a checkpoint of the leaves holds, and hands the
// values over as a reader would.
func load(target any, leaves []tree.Leaf, adapters ...tree.Adapter) error {
	return loadWith(target, leaves, tree.BindOptions{Adapters: adapters})
}

func loadWith(target any, leaves []tree.Leaf, o tree.BindOptions) error {
	slots, finish, err := tree.Bind(target, specsOf(leaves), o)
	if err != nil {
		return err
	}
	if err := fill(slots, leaves); err != nil {
		return err
	}
	return finish()
}

func loadAbstract(abstract any, leaves []tree.Leaf, o tree.BindOptions) (any, error) {
	slots, build, err := tree.BindAbstract(abstract, specsOf(leaves), o)
	if err != nil {
		return nil, err
	}
	if err := fill(slots, leaves); err != nil {
		return nil, err
	}
	return build()
}

func specsOf(leaves []tree.Leaf) []tree.Spec {
	specs := make([]tree.Spec, len(leaves))
	for i, l := range leaves {
		specs[i] = l.Spec()
	}
	return specs
}

// fill sets the slots: arrays in memory of its own unless there is some to fill,
// converted to what is wanted.
func fill(slots []tree.Slot, leaves []tree.Leaf) error {
	for i, s := range slots {
		if s.Set == nil {
			continue
		}
		v := leaves[i].Value
		a, ok := v.(*array.Array)
		if data, isBytes := v.([]byte); isBytes && s.Want.String() != array.Abstract(array.Of(data)).String() {
			a, ok = array.Of(data), true
		}
		if ok {
			dst := s.Array
			if dst == nil {
				dst, _ = array.New(s.Want.DType, s.Want.Shape, nil)
			}
			if err := fit(dst, a); err != nil {
				return err
			}
			v = dst
		}
		if err := s.Set(v); err != nil {
			return err
		}
	}
	return nil
}

// fit copies src to dst: cast, and cut off or continued with zeros.
func fit(dst, src *array.Array) error {
	src, err := src.Cast(dst.DType())
	if err != nil {
		return err
	}
	origin, size := make([]int, dst.Rank()), dst.Shape()
	for i, d := range src.Shape() {
		size[i] = min(size[i], d)
	}
	clear(dst.Bytes())
	return array.CopyRegion(dst.Bytes(), dst.Shape(), origin, src.Bytes(), src.Shape(), origin, size, dst.DType().Size())
}

func flatten(t *testing.T, v any) []tree.Leaf {
	t.Helper()
	leaves, err := tree.Flatten(v)
	if err != nil {
		t.Fatal(err)
	}
	return leaves
}

func ptr[T any](v T) *T { return &v }

// TestBind loads the leaves of saved into target and compares with want.
func TestBind(t *testing.T) {
	i8 := array.Scalar(int8(-3))
	f := array.Of([]float32{1, 2, 3, 4}, 2, 2)
	type opt struct {
		A int `orbax:"a,omitempty"`
		B *int
	}
	tests := []struct {
		name          string
		saved, target any
		want          any // what target points at
	}{
		{"any", map[string]any{"a": 1, "b": tree.Tuple{"x", nil}, "c": tree.Tuple{}}, new(any), map[string]any{"a": 1, "b": []any{"x", nil}, "c": tree.Tuple{}}},
		{"any bytes", []byte("x"), new(any), []byte("x")},
		{"any none", nil, ptr(any(5)), nil},
		{"any template", map[string]any{"a": int64(1), "b": []any{float32(2)}}, ptr(any(map[string]any{"a": int8(0), "b": []any{float64(0)}})), map[string]any{"a": int8(1), "b": []any{float64(2)}}},
		{"typed map", map[string]any{"a": f}, new(map[string]*array.Array), map[string]*array.Array{"a": f}},
		{"int keys", map[string]any{"1": float32(2), "-3": float32(4)}, new(map[int]float32), map[int]float32{1: 2, -3: 4}},
		{"named keys", map[string]any{"k": uint8(2)}, new(map[myString]myInt), map[myString]myInt{"k": 2}},
		{"map template", map[string]any{"a": 1, "b": nil}, &map[string]*int{"a": ptr(5), "b": ptr(6)}, map[string]*int{"a": ptr(1), "b": nil}},
		{"empty map", map[string]int{}, new(map[string]int), map[string]int{}},
		{"none to map", nil, &map[string]int{"a": 1}, map[string]int(nil)},
		{"struct", map[string]any{"a": 1, "B": 2}, new(opt), opt{1, ptr(2)}},
		{"omitted", map[string]any{"B": nil}, &opt{5, ptr(2)}, opt{0, nil}},
		{"pointers", 3, new(***int8), ptr(ptr(ptr(int8(3))))},
		{"seq struct", []any{1, "x", map[string]any{"Mu": 1}}, new(pair), pair{Second: 1, First: "x", Base: Base{Mu: 1}}},
		{"unit", map[string]any{"a": nil, "b": tree.Tuple{}, "c": unit{}}, &map[string]unit{}, map[string]unit{"a": {}, "b": {}, "c": {}}},
		{"unit seq", []any{nil, tree.Tuple{}}, new([]seqUnit), []seqUnit{{}, {}}},
		{"tuple", []any{1, 2.0}, new(tree.Tuple), tree.Tuple{1, 2.0}},
		{"tuple template", tree.Tuple{1, 2.0}, &tree.Tuple{int16(0), 0.0}, tree.Tuple{int16(1), 2.0}},
		{"strings", tree.Tuple{"a", "b"}, new([]myString), []myString{"a", "b"}},
		{"go array", []string{"a", "b"}, new([2]string), [2]string{"a", "b"}},
		{"empty list", tree.Tuple{}, new([]string), []string{}},
		{"nested lists", [][]int8{{1}, nil, {}}, new([][]int8), [][]int8{{1}, nil, {}}},
		{"numbers", []float32{1, 2}, new(myFloats), myFloats{1, 2}},
		{"numbers of another name", []myInt{1}, new([]int16), []int16{1}},
		{"empty numbers", []float32{}, new([]float32), []float32{}},
		{"ints", []int64{1, 2}, new([]int), []int{1, 2}},
		{"bools", []bool{true, false}, new([]bool), []bool{true, false}},
		{"go numbers", []float32{1, 2}, new([2]float32), [2]float32{1, 2}},
		{"special", []array.BF16{1}, new([]array.BF16), []array.BF16{1}},
		{"bytes", []byte{1, 2}, new([]byte), []byte{1, 2}},
		{"bytes of another length", []byte{1, 2}, ptr([]byte{3}), []byte{1, 2}},
		{"uint8 array to bytes", array.Of([]uint8{1, 2}), new([]byte), []byte{1, 2}},
		{"bytes to array", []byte{1, 2}, new(*array.Array), array.Of([]uint8{1, 2})},
		{"bytes to go array", []byte{1, 2}, new([2]byte), [2]byte{1, 2}},
		{"scalar to array", int8(-3), new(*array.Array), i8},
		{"scalar into array", int8(-3), ptr(array.Scalar(int8(0))), i8},
		{"array to scalar", i8, new(int8), int8(-3)},
		{"array to wider scalar", i8, new(int64), int64(-3)},
		{"special scalar", array.BF16(5), new(array.BF16), array.BF16(5)},
		{"int4 scalar", array.I4(-5), new(int), -5},
		{"ints narrow", int64(255), new(uint8), uint8(255)},
		{"uint to int", uint64(5), new(int8), int8(5)},
		{"float widens", float32(1.5), new(float64), 1.5},
		{"complex widens", complex64(2i), new(complex128), 2i},
		{"bool", true, new(bool), true},
		{"big", uint64(1 << 63), new(*big.Int), new(big.Int).SetUint64(1 << 63)},
		{"big in place", -4, ptr(big.NewInt(9)), big.NewInt(-4)},
		{"empties", map[string]any{"a": tree.EmptyTuple}, new(map[string]tree.Empty), map[string]tree.Empty{"a": tree.EmptyTuple}},
		{"node", []any{1, "x"}, new(node), node{[]any{1, "x"}}},
		{"node pointer", []any{1, "x"}, new(*node), &node{[]any{1, "x"}}},
		{"node template", []any{1, 2.0}, &node{[]any{int8(0), &node{float64(0)}}}, node{[]any{int8(1), &node{2.0}}}},
		{"nodes in a map", map[string]any{"a": 1, "b": nil}, new(map[string]*node), map[string]*node{"a": {1}, "b": nil}},
		{"node values in a map", map[string]any{"a": 1}, new(map[string]node), map[string]node{"a": {1}}},
		{"node in an interface", map[string]any{"a": 1}, &map[string]tree.Node{"a": &node{}}, map[string]tree.Node{"a": &node{1}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := load(tt.target, flatten(t, tt.saved)); err != nil {
				t.Fatal(err)
			}
			got := reflect.ValueOf(tt.target).Elem().Interface()
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %#v, want %#v", got, tt.want)
			}
		})
	}
}

type embedding struct {
	X int
	*Base
	*Deep
}
type Deep struct {
	D int
	*Deeper
}
type Deeper struct{ E int }

func TestBindEmbeddedPointers(t *testing.T) {
	for _, in := range []embedding{
		{X: 1},
		{X: 1, Base: &Base{Mu: 2}},
		{X: 1, Deep: &Deep{D: 3}},
		{X: 1, Deep: &Deep{3, &Deeper{4}}},
	} {
		var out embedding
		if err := load(&out, flatten(t, in)); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(in, out) {
			t.Errorf("got %+v, want %+v", out, in)
		}
	}
}

func TestBindInPlace(t *testing.T) {
	type state struct {
		S  []float32
		A  [2]int8
		B  []byte
		W  *array.Array
		M  map[string]any
		P  *Base
		L  []string
		un int
	}
	s := state{
		S: []float32{0, 0}, B: []byte("xx"), W: array.Of([]int16{0}), M: map[string]any{"k": array.Scalar(0.5), "n": 1},
		P: &Base{nu: 9}, L: []string{""}, un: 4,
	}
	old := s
	arr := s.M["k"].(*array.Array)
	if err := load(&s, flatten(t, state{
		S: []float32{1, 2}, A: [2]int8{3, 4}, B: []byte("yz"), W: array.Of([]int16{5}), M: map[string]any{"k": array.Scalar(1.5), "n": 2},
		P: &Base{Mu: 1}, L: []string{"l"},
	})); err != nil {
		t.Fatal(err)
	}
	same := &s.S[0] == &old.S[0] && &s.B[0] == &old.B[0] && s.W == old.W && s.M["k"] == arr && s.P == old.P && &s.L[0] == &old.L[0]
	if !same {
		t.Error("memory was replaced")
	}
	if s.S[1] != 2 || s.A != [2]int8{3, 4} || string(s.B) != "yz" || s.W.Bytes()[0] != 5 || old.M["n"] != 2 || *s.P != (Base{1, 9}) || old.L[0] != "l" || s.un != 4 {
		t.Errorf("got %+v, map %v; want S[1]=2 A=[3 4] B=yz W[0]=5 M[n]=2 P={1 9} L[0]=l un=4", s, old.M)
	}
}

// TestBindLeavesTarget checks that the target is as before up to finish.
func TestBindLeavesTarget(t *testing.T) {
	type state struct {
		N   int
		M   map[string]int
		P   *int
		A   any
		S   []string
		Omi int `orbax:",omitempty"`
	}
	target := func() *state {
		return &state{1, map[string]int{"a": 1}, ptr(2), 3, []string{"x"}, 4}
	}
	s := target()
	saved := flatten(t, map[string]any{"N": 5, "M": map[string]int{"a": 6}, "P": nil, "A": 7, "S": []string{"y"}})
	specs := specsOf(saved)
	slots, finish, err := tree.Bind(s, specs, tree.BindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := finish(); !errors.Is(err, fault.ErrIncomplete) {
		t.Errorf("finish before Set: %v", err)
	}
	for i, slot := range slots {
		if slot.Set == nil {
			continue
		}
		if err := slot.Set("wrong"); err == nil && specs[i].Kind != tree.KindString {
			t.Errorf("slot %d took a string", i)
		}
		if err := slot.Set(saved[i].Value); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(s, target()) {
		t.Errorf("changed before finish: %+v", s)
	}
	if err := finish(); err != nil {
		t.Fatal(err)
	}
	if want := (&state{5, map[string]int{"a": 6}, nil, 7, []string{"y"}, 0}); !reflect.DeepEqual(s, want) {
		t.Errorf("got %+v, want %+v", s, want)
	}
}

func TestBindSharedMemory(t *testing.T) {
	tied := []float32{0, 0}
	target := []any{tied, tied[:1], tied, array.Of(tied)}
	saved := []any{[]float32{1, 2}, []float32{1}, []float32{1, 2}, array.Of([]float32{1, 2})}
	if err := load(&target, flatten(t, saved)); err != nil {
		t.Fatal(err)
	}
	if tied[0] != 1 || tied[1] != 2 || &target[2].([]float32)[0] != &tied[0] {
		t.Errorf("got %v", target)
	}
}

// TestBindUnaligned takes arrays over memory that is not aligned for their type.
func TestBindUnaligned(t *testing.T) {
	memory := make([]byte, 17)
	memory[1] = 7
	a, err := array.New(array.Int64, []int{2}, memory[1:])
	if err != nil {
		t.Fatal(err)
	}
	var s []int64
	slots, finish, err := tree.Bind(&s, []tree.Spec{{Kind: tree.KindArray, DType: array.Int64, Shape: []int{2}}}, tree.BindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(slots[0].Set(a), finish()); err != nil || s[0] != 7 {
		t.Errorf("got %v, %v", s, err)
	}
}

func TestBindHostile(t *testing.T) {
	huge := tree.Spec{Path: tree.Path{{Name: "a"}}, Kind: tree.KindArray, DType: array.Float32, Shape: []int{math.MaxInt}}
	var m map[string][]float32
	slots, _, err := tree.Bind(&m, []tree.Spec{huge}, tree.BindOptions{})
	if err != nil || slots[0].Array != nil {
		t.Errorf("got %v, %v", slots, err)
	}
	bad := array.Of([]bool{true, true})
	bad.Bytes()[1] = 2
	for _, target := range []any{new([]bool), ptr([]bool{false, false}), new([2]bool)} {
		if err := load(target, []tree.Leaf{{Value: bad}}); !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("%T: %v", target, err)
		}
	}
	if err := load(new(any), []tree.Leaf{{Value: 1}, {Value: 2}}); !errors.Is(err, fault.ErrStructure) {
		t.Errorf("two roots: %v", err)
	}
	if _, _, err := tree.Bind(new(any), nil, tree.BindOptions{}); !errors.Is(err, fault.ErrStructure) {
		t.Errorf("no leaves: %v", err)
	}
	if _, _, err := tree.Bind(new(int), []tree.Spec{{}}, tree.BindOptions{}); !errors.Is(err, fault.ErrStructure) {
		t.Errorf("zero spec: %v", err)
	}
}
