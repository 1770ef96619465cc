package tree_test

import (
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

func TestBindMismatches(t *testing.T) {
	type point struct {
		X, Y float32
		P    *int
	}
	tests := []struct {
		name          string
		saved, target any
		want          string // the error, lines joined by |
		is            error
	}{
		{"all at once", map[string]any{"X": 1.5, "Z": 1, "P": "x"}, &point{},
			"leaf P: structure mismatch: the checkpoint has a string, the target is int|" +
				"leaf X: dtype mismatch: the checkpoint has a scalar float64, the target is float32, which would round it; use float64, or orbax.Cast() to convert it|" +
				"leaf Y: structure mismatch: missing key: the checkpoint has nothing here, the target is float32; transform.Default gives it a value|" +
				"leaf Z: structure mismatch: unexpected key: the checkpoint has a scalar int64, the target nothing; orbax.Partial() leaves it out", fault.ErrDType},
		{"what can be left out comes last", map[string]any{"a": 1, "b": 1, "z": "x"}, map[string]any{"z": 0},
			"leaf z: structure mismatch: the checkpoint has a string, the target is int|" +
				"leaf a: structure mismatch: unexpected key: the checkpoint has a scalar int64, the target nothing; orbax.Partial() leaves it out|" +
				"leaf b: structure mismatch: unexpected key: the checkpoint has a scalar int64, the target nothing; orbax.Partial() leaves it out", fault.ErrStructure},
		{"other spelling", map[string]any{"layer_norm": 1.5, "x": 1}, &struct {
			LayerNorm float64
			Y         int
		}{},
			"leaf LayerNorm: structure mismatch: missing key: the checkpoint has nothing here, the target is float64; it has the key layer_norm|" +
				"leaf Y: structure mismatch: missing key: the checkpoint has nothing here, the target is int; transform.Default gives it a value|" +
				"leaf layer_norm: structure mismatch: unexpected key: the checkpoint has a scalar float64, the target nothing; orbax.Partial() leaves it out|" +
				"leaf x: structure mismatch: unexpected key: the checkpoint has a scalar int64, the target nothing; orbax.Partial() leaves it out", fault.ErrStructure},
		{"map keys", map[string]any{"a": 1, "c": []any{1}}, map[string]any{"a": 0, "b": array.Of([]int8{1})},
			"leaf b: structure mismatch: missing key: the checkpoint has nothing here, the target is an array int8[1]; transform.Default gives it a value|leaf c: structure mismatch: unexpected key: the checkpoint has a sequence of 1, the target nothing", fault.ErrStructure},
		{"dtype and shape", array.Of([]float32{1, 2}), ptr(array.Of([]float64{1, 2}, 1, 2)),
			"leaf at the root: dtype mismatch: the checkpoint has an array float32[2], the target's elements are float64; orbax.Cast() converts it|leaf at the root: shape mismatch: the checkpoint has an array float32[2], the target has shape [1 2]", fault.ErrShape},
		{"slice length", []int8{1}, ptr([]int8{1, 2}), "shape mismatch: the checkpoint has an array int8[1], the target has shape [2]", fault.ErrShape},
		{"slice dtype", []int8{1}, new([]uint8), "dtype mismatch: the checkpoint has an array int8[1], the target's elements are uint8", fault.ErrDType},
		{"rank", array.Of([]int8{1}, 1, 1), new([]int8), "shape mismatch: the checkpoint has an array int8[1 1], and a []int8 has one axis; a *array.Array takes any shape", fault.ErrShape},
		{"rank of a full slice", array.Of([]int8{1, 2}, 2, 1), ptr([]int8{1, 2}), "array int8[2 1], and a []int8 has one axis", fault.ErrShape},
		{"rank of a go array", array.Of([]int8{1, 2}, 2, 1), new([2]int8), "a [2]int8 has one axis; a *array.Array takes any shape", fault.ErrShape},
		{"no axis", array.Scalar[float32](1), new([]float32), "a []float32 has one axis; a float32 or a *array.Array takes it", fault.ErrShape},
		{"bytes rank", array.Of([]uint8{1}, 1, 1), new([]byte), "shape mismatch", fault.ErrShape},
		{"go array length", []int8{1}, new([2]int8), "the target has shape [2]", fault.ErrShape},
		{"list to numbers", []any{1.0}, new([]float64), "the checkpoint has a sequence of 1, the target is []float64", fault.ErrStructure},
		{"list length", []string{"a"}, ptr([]string{"a", "b"}), "the checkpoint has a sequence of 1, the target is []string of length 2", fault.ErrStructure},
		{"go list length", []string{"a"}, new([2]string), "structure mismatch", fault.ErrStructure},
		{"seq length", []any{1}, new(pair), "the checkpoint has a sequence of 1, the target is tree_test.pair, a sequence of 3", fault.ErrStructure},
		{"dict to seq", map[string]any{"0": 1}, new([]any), "the checkpoint has a dict with 1 key, the target is []interface {}", fault.ErrStructure},
		{"seq to struct", []any{1}, new(point), "structure mismatch", fault.ErrStructure},
		{"seq to map", []any{1}, new(map[string]int), "structure mismatch", fault.ErrStructure},
		{"none to scalar", nil, new(int), "the checkpoint has None, the target is int", fault.ErrStructure},
		{"none to array", nil, new([2]int8), "the checkpoint has None", fault.ErrStructure},
		{"none to map at the root", nil, map[string]any{}, "the checkpoint has None", fault.ErrStructure},
		{"dict to unit", map[string]any{"a": 1}, new(unit), "structure mismatch", fault.ErrStructure},
		{"dict to scalar", map[string]any{"a": 1, "b": 1}, new(int), "the checkpoint has a dict with 2 keys, the target is int", fault.ErrStructure},
		{"int keys", map[string]any{"01": 1, "300": 1, "x": 1}, new(map[uint8]int), "leaf 01: structure mismatch: the checkpoint has the key \"01\", the target's keys are of type uint8|leaf 300:", fault.ErrStructure},
		{"float keys", map[string]any{"1": 1}, new(map[float32]int), "keys must be strings or integers", fault.ErrLeafType},
		{"float to int", 1.0, new(int), "the checkpoint has a scalar float64, the target is int", fault.ErrDType},
		{"int to float", 1, new(float64), "dtype mismatch", fault.ErrDType},
		{"bool to int", true, new(int), "dtype mismatch", fault.ErrDType},
		{"bf16 to float32", array.BF16(1), new(float32), "dtype mismatch", fault.ErrDType},
		{"uint16 to bf16", uint16(1), new(array.BF16), "dtype mismatch", fault.ErrDType},
		{"array to number", array.Of([]int8{1}), new(int8), "shape mismatch: the checkpoint has an array int8[1], the target is one int8", fault.ErrShape},
		{"one element to number", map[string]any{"a": array.Of([]int8{1}, 1, 1)}, new(map[string]int8), `the target is one int8; transform.Set("a", transform.Leaf("a").Reshape()) gives it this shape`, fault.ErrShape},
		{"two elements to number", map[string]any{"a": array.Of([]int8{1, 2})}, new(map[string]int8), "the target is one int8|", fault.ErrShape},
		{"as many elements", map[string]any{"a": map[string]any{"w": array.Of([]int8{1, 2, 3, 4, 5, 6}, 2, 3)}}, ptr(map[string]any{"a": map[string]any{"w": array.Of(make([]int8, 6))}}),
			`leaf a.w: shape mismatch: the checkpoint has an array int8[2 3], the target has shape [6]; transform.Set("a.w", transform.Leaf("a.w").Reshape(6)) gives it this shape`, fault.ErrShape},
		{"as many elements and axes", map[string]any{"a": array.Of([]int8{1, 2, 3, 4, 5, 6}, 2, 3)}, ptr(map[string]any{"a": array.Of(make([]int8, 6), 3, 2)}),
			`the target has shape [3 2]; orbax.PadOrTruncate() accepts that; transform.Set("a", transform.Leaf("a").Reshape(3, 2)) gives it this shape`, fault.ErrShape},
		{"other elements", map[string]any{"a": array.Of([]int8{1, 2}, 2, 1)}, ptr(map[string]any{"a": array.Of(make([]int8, 3))}), "the target has shape [3]|", fault.ErrShape},
		{"axes of a slice", map[string]any{"a": array.Of([]int8{1, 2}, 2, 1)}, new(map[string][]int8), `a *array.Array takes any shape; transform.Set("a", transform.Leaf("a").Reshape(2)) gives it this shape`, fault.ErrShape},
		{"float to big", 1.0, new(big.Int), "structure mismatch", fault.ErrStructure},
		{"string to bytes", "x", new([]byte), "structure mismatch", fault.ErrStructure},
		{"overflow", 300, new(int8), "leaf at the root: dtype mismatch: 300 does not fit in int8", fault.ErrDType},
		{"negative", map[string]any{"a": -1}, new(map[string]uint), "leaf a: dtype mismatch: -1 does not fit in uint", fault.ErrDType},
		{"unsupported", map[string]any{"a": 1}, new(map[string]chan int), "leaf a: unsupported leaf type: chan int", fault.ErrLeafType},
		{"opaque", 1, new(time.Time), "time.Time has only unexported fields", fault.ErrLeafType},
		{"nil interface", 1, new(tree.Node), "the target is a nil tree.Node", fault.ErrLeafType},
		{"endless pointer", 1, new(endlessPointer), "more than 32768 pointers", fault.ErrLeafType},
		{"no pointer", 1, 1, "cannot load into a int", fault.ErrLeafType},
		{"nil", 1, nil, "cannot load into a <nil>", fault.ErrLeafType},
		{"nil pointer", 1, (*int)(nil), "cannot load into a nil *int", fault.ErrLeafType},
		{"node refuses", "refuse", new(node), "leaf at the root: node: refused", nil},
		{"node error", 1, &node{errors.New("boom")}, "boom", nil},
		{"embedded unexported", map[string]any{"A": 1}, new(struct{ *lower }), "cannot be set", fault.ErrLeafType},
		{"shared arrays", []any{[]int8{1}, []int8{2}}, func() any { a := []int8{0}; return &[]any{a, a} }(), "leaf 1: structure mismatch: the target shares the memory", fault.ErrStructure},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := load(tt.target, flatten(t, tt.saved))
			if err == nil {
				t.Fatalf("no error; target %#v", tt.target)
			}
			if got := strings.ReplaceAll(err.Error(), "\n", "|") + "|"; !strings.Contains(got, tt.want) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v is not %v", err, tt.is)
			}
			var leaf *fault.Leaf
			if !errors.As(err, &leaf) {
				t.Errorf("%v is not a *fault.Leaf", err)
			}
		})
	}
}

type endlessPointer *endlessPointer

type lower struct{ A int }
