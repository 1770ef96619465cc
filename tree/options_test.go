package tree_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

func TestBindCast(t *testing.T) {
	cast := tree.BindOptions{Cast: true}
	for _, tt := range []struct{ saved, target, want any }{
		{300, new(int8), int8(127)},
		{-1, new(uint), uint(0)},
		{math.NaN(), new(int), 0},
		{-2.9, new(myInt), myInt(-2)},
		{1e300, new(float32), float32(math.Inf(1))},
		{3 + 4i, new(float64), 3.0},
		{true, new(float32), float32(1)},
		{2.0, new(bool), true},
		{1.5, new(array.BF16), array.ToBF16(1.5)},
		{array.BF16(0x4000), new(int32), int32(2)},
		{array.I4(-5), new(float32), float32(-5)},
		{array.Scalar(2.5), new(int16), int16(2)},
		{7, new(*array.Array), array.Scalar(7)}, // nil takes what is stored
		{7, ptr(array.Scalar(0.0)), array.Scalar(7.0)},
		{[]array.BF16{0x3f80}, new([]float32), []float32{1}},
		{[]float64{1.5, -1}, new([]byte), []byte{1, 0}},
		{[]float64{1.5, -1}, ptr([]byte{9, 9}), []byte{1, 0}},
		{[]byte{200, 1}, new([]int8), []int8{127, 1}},
		{[]byte{200, 1}, new([2]float32), [2]float32{200, 1}},
		{[]int8{1, 0}, new([]bool), []bool{true, false}},
		{uint64(1 << 63), new(int64), int64(math.MaxInt64)},
	} {
		if err := loadWith(tt.target, flatten(t, tt.saved), cast); err != nil {
			t.Errorf("%v to %T: %v", tt.saved, tt.target, err)
			continue
		}
		if got := reflect.ValueOf(tt.target).Elem().Interface(); !same(got, tt.want) {
			t.Errorf("%v to %T: got %v, want %v", tt.saved, tt.target, got, tt.want)
		}
	}
	for _, tt := range []struct{ saved, target any }{
		{"1", new(int)},
		{1, new(string)},
		{1.5, new(string)},
		{[]int8{1}, new(int)},
		{1, new([]int)},
	} {
		if err := loadWith(tt.target, flatten(t, tt.saved), cast); err == nil || strings.Contains(err.Error(), "orbax.Cast()") {
			t.Errorf("%v to %T: %v", tt.saved, tt.target, err)
		}
	}
}

func TestBindPadOrTruncate(t *testing.T) {
	pad := tree.BindOptions{PadOrTruncate: true}
	for _, tt := range []struct{ saved, target, want any }{
		{[]int8{1, 2, 3}, ptr([]int8{9, 9}), []int8{1, 2}},
		{[]int8{1, 2, 3}, new([5]int8), [5]int8{1, 2, 3}},
		{[]int8{1, 2, 3}, new([]int8), []int8{1, 2, 3}},
		{[]byte{1, 2, 3}, ptr([]byte{9}), []byte{1, 2, 3}},
		{[]byte{1, 2, 3}, new([2]byte), [2]byte{1, 2}},
		{array.Of([]int8{1, 2, 3, 4}, 2, 2), ptr(array.Of([]int8{9, 9, 9}, 1, 3)), array.Of([]int8{1, 2, 0}, 1, 3)},
	} {
		if err := loadWith(tt.target, flatten(t, tt.saved), pad); err != nil {
			t.Errorf("%v to %T: %v", tt.saved, tt.target, err)
			continue
		}
		if got := reflect.ValueOf(tt.target).Elem().Interface(); !same(got, tt.want) {
			t.Errorf("%v to %T: got %v, want %v", tt.saved, tt.target, got, tt.want)
		}
	}
	if err := loadWith(ptr(array.Of([]int8{1})), flatten(t, array.Of([]int8{1}, 1, 1)), pad); !errors.Is(err, fault.ErrShape) {
		t.Errorf("other rank: %v", err)
	}
	huge := any(array.ShapeDtypeStruct{Shape: []int{math.MaxInt / 4}, DType: array.Float64})
	if err := loadWith(&huge, flatten(t, []float64{1}), pad); !errors.Is(err, fault.ErrShape) {
		t.Errorf("huge: %v", err)
	}
}

func TestBindPartial(t *testing.T) {
	partial := tree.BindOptions{Partial: true}
	type state struct {
		A   int
		O   int `orbax:",omitempty"`
		In  struct{ X int8 }
		M   map[string]int
		Sub unit
		Any any
	}
	s := state{O: 5, M: map[string]int{"a": 1}, Any: tree.Placeholder}
	saved := map[string]any{
		"A": 1, "B": 2, "In": map[string]any{"X": int8(3), "Y": 4}, "M": map[string]any{"a": 5, "b": "x"},
		"Sub": map[string]any{"z": 1}, "Any": []any{1, 2},
	}
	if err := loadWith(&s, flatten(t, saved), partial); err != nil {
		t.Fatal(err)
	}
	want := state{A: 1, M: map[string]int{"a": 5}, Any: tree.Placeholder}
	want.In.X = 3
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got %+v, want %+v", s, want)
	}
	for _, tt := range []struct{ saved, target any }{
		{map[string]any{"a": 1}, &map[string]int{"a": 0, "b": 0}}, // missing
		{map[string]any{"a": 1}, new(struct{ B int })},
		{[]any{1, "x"}, ptr([]any{0})}, // sequences keep their length
		{[]any{1, "x"}, new(seqUnit)},
		{[]any{1, "x"}, new(unit)},
		{[]any{1}, new(pair)},
		{map[string]any{"x": 1}, new(map[int]int)}, // a key that the map cannot hold
	} {
		if err := loadWith(tt.target, flatten(t, tt.saved), partial); !errors.Is(err, fault.ErrStructure) {
			t.Errorf("%v to %T: %v", tt.saved, tt.target, err)
		}
	}
}

func TestBindStandIns(t *testing.T) {
	type state struct {
		P, Q, W, Z any
		S          fmt.Stringer
		N          *node
	}
	saved := map[string]any{
		"P": nil, "W": []float32{1, 2}, "Z": 7, "S": []int8{1}, "N": []any{1, []float32{3}},
	}
	s := state{
		P: tree.Placeholder, Q: tree.Placeholder,
		W: array.ShapeDtypeStruct{Shape: []int{2}, DType: array.Float32},
		Z: &array.ShapeDtypeStruct{DType: array.Int64},
		S: array.ShapeDtypeStruct{Shape: []int{1}, DType: array.Int8},
		N: &node{[]any{tree.Placeholder, array.ShapeDtypeStruct{Shape: []int{1}, DType: array.Float32}}},
	}
	if err := load(&s, flatten(t, saved)); err != nil {
		t.Fatal(err)
	}
	if s.P != tree.Placeholder || s.Q != tree.Placeholder || !same(s.W, array.Of([]float32{1, 2})) || !same(s.Z, array.Scalar(7)) ||
		!same(s.S, array.Of([]int8{1})) || !same(s.N.kids, []any{tree.Placeholder, array.Of([]float32{3})}) {
		t.Errorf("got %+v", s)
	}
	for want, target := range map[string]any{
		"put it into an interface": &array.ShapeDtypeStruct{},
		"the checkpoint has an array int8[1], the target's elements are float32; orbax.Cast() converts it": ptr(any(array.ShapeDtypeStruct{Shape: []int{1}, DType: array.Float32})),
		"the target has shape [2]; orbax.PadOrTruncate() accepts that":                                     ptr(any(array.ShapeDtypeStruct{Shape: []int{2}, DType: array.Int8})),
		"cannot hold an *array.Array": ptr(validator(array.ShapeDtypeStruct{Shape: []int{1}, DType: array.Int8})),
	} {
		if err := load(target, flatten(t, []int8{1})); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%T: %v, want %s", target, err, want)
		}
	}
	for _, v := range []any{tree.Placeholder, array.ShapeDtypeStruct{}, &array.ShapeDtypeStruct{}} {
		if _, err := tree.Flatten([]any{v}); !errors.Is(err, fault.ErrLeafType) || !strings.Contains(err.Error(), "has no data to save") {
			t.Errorf("%T: %v", v, err)
		}
	}
}

// validator is implemented by a ShapeDtypeStruct and not by an *Array.
type validator interface{ Validate() error }
