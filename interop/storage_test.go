package interop

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/zarr"
)

// ramp returns float32s that bfloat16 has to round.
func ramp(shape ...int) *node {
	n, _ := array.NumElements(shape)
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i) * 1.001
	}
	return arrayNode("np", array.Of(v, shape...))
}

// TestLargeArrays sends arrays of several chunks both ways.
func TestLargeArrays(t *testing.T) {
	needPython(t)
	sharded := ramp(16, 1<<15)
	sharded.Lib, sharded.Sharding = "jax", &mesh{Mesh: []int{2, 4}, Axes: []string{"x", "y"}, Spec: []any{"x", "y"}}
	bothWays(t, dict("rows", ramp(5, 1<<19), "sharded", sharded))
}

// TestInPlace sends Python arrays that are written from where they lie, of sizes
// that fill their last page and not, and some that are stored once for two leaves.
func TestInPlace(t *testing.T) {
	needPython(t)
	state := map[string]any{}
	for i, shape := range [][]int{{1 << 18}, {1<<18 + 1}, {1<<18 - 1}, {1<<18 + 1023}, {1<<18 + 1024}, {1000, 1000}, {5, 1 << 19}, {3, 1 << 20, 2}, {7}} {
		a, err := ramp(shape...).toGo()
		if err != nil {
			t.Fatal(err)
		}
		state[fmt.Sprint("a", i)] = a
		if i%2 == 0 {
			state[fmt.Sprint("tied", i)] = a
		}
	}
	want, err := fromGo(state)
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]handler.StorageOptions{
		"database": {}, "small files": {DataFileSize: 5 << 20}, "files": {PlainFiles: true},
		"huffman": {ArrayOptions: handler.ArrayOptions{Compression: zarr.Huffman()}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "checkpoint")
			var s orbax.Stats
			if err := orbax.Save(t.Context(), path, state, orbax.Storage(o), orbax.Report(&s)); err != nil {
				t.Fatal(err)
			}
			if (s.Shared > 0) == o.PlainFiles {
				t.Errorf("%d bytes are shared", s.Shared)
			}
			mustEqual(t, "Python", want.inPython(), pyLoad(t, path, nil))
			mustEqual(t, "Go", want, goLoad(t, path))
		})
	}
}

// TestStorage saves with Go in each form that the options offer.
func TestStorage(t *testing.T) {
	needPython(t)
	sharded := ramp(16, 12)
	sharded.Lib, sharded.Sharding = "jax", &mesh{Mesh: []int{4}, Axes: []string{"x"}, Spec: []any{nil, "x"}}
	n := dict("a", ramp(7, 9, 5), "b", dict("c", sharded, "bytes", byteString([]byte("abc"))), "f", float(0.1), "n", integer(3))
	for name, s := range map[string]handler.StorageOptions{
		"chunks":         {ArrayOptions: handler.ArrayOptions{ChunkByteSize: 100}},
		"sharded axes":   {ArrayOptions: handler.ArrayOptions{ChunkByteSize: 40, ShardAxes: []int{1}}},
		"bfloat16":       {ArrayOptions: handler.ArrayOptions{DType: array.BFloat16}},
		"bfloat16 zstd":  {ArrayOptions: handler.ArrayOptions{DType: array.BFloat16, Compression: zarr.Zstd(1), ChunkByteSize: 64}},
		"huffman":        {ArrayOptions: handler.ArrayOptions{Compression: zarr.Huffman()}},
		"zarr2 huffman":  {ArrayOptions: handler.ArrayOptions{Compression: zarr.Huffman(), ChunkByteSize: 64}, Zarr2: true},
		"auto":           {ArrayOptions: handler.ArrayOptions{Compression: zarr.Auto()}},
		"zarr2 float64":  {ArrayOptions: handler.ArrayOptions{DType: array.Float64}, Zarr2: true},
		"files bfloat16": {ArrayOptions: handler.ArrayOptions{DType: array.BFloat16, ChunkByteSize: 64}, PlainFiles: true},
		"one leaf": {PerLeaf: func(leaf string, _ array.ShapeDtypeStruct, o handler.ArrayOptions) handler.ArrayOptions {
			if strings.HasPrefix(leaf, "b.") {
				o.Compression, o.ChunkByteSize = zarr.Zstd(19), 48
			}
			return o
		}},
	} {
		t.Run(name, func(t *testing.T) {
			want := n.mapLeaves(func(l *node) *node {
				if s.DType == array.Invalid || l.T != "array" {
					return l
				}
				a, err := l.toGo()
				if err != nil {
					t.Fatal(err)
				}
				if d := a.(*array.Array).DType(); d < array.Float4E2M1FN || d > array.Float64 {
					return l // only numbers of the same class are converted
				}
				cast, err := a.(*array.Array).Cast(s.DType)
				if err != nil {
					t.Fatal(err)
				}
				l.DType, l.Data = s.DType.String(), cast.Bytes()
				return l
			})
			path := filepath.Join(t.TempDir(), "checkpoint")
			goSave(t, path, n, orbax.Storage(s))
			mustEqual(t, "Python", want.inPython(), pyLoad(t, path, nil))
			mustEqual(t, "Go", want, goLoad(t, path))
			mustEqual(t, "Python, into NumPy arrays", asNumPy(want.inPython()), pyLoad(t, path, request{"kind": "np", "tree": want.inPython()}))
		})
	}
}
