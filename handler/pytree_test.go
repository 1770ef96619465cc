package handler

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
	"github.com/go-orbax/orbax/zarr"
)

// savedTree saves v and opens the tree that was written.
func savedTree(t testing.TB, v any, s StorageOptions) (*view.Tree, string) {
	t.Helper()
	write, err := PyTreeHandler{}.Save(t.Context(), v, SaveOptions{Storage: s})
	if err != nil {
		t.Fatal(err)
	}
	dir, path := written(t, write)
	opened, err := PyTreeHandler{}.OpenTree(t.Context(), dir, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return opened, path
}

// random returns an array of noise that every dtype can have.
func random(t testing.TB, d array.DType, shape ...int) *array.Array {
	t.Helper()
	a, err := array.New(d, shape, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.NewChaCha8([32]byte{byte(d), byte(len(shape))})
	r.Read(a.Bytes())
	if d == array.Bool {
		for i, b := range a.Bytes() {
			a.Bytes()[i] = b & 1
		}
	}
	array.Canonicalize(d, a.Bytes())
	return a
}

var allDTypes = func() (all []array.DType) {
	for d := array.Bool; d <= array.Complex128; d++ { // every dtype that can be stored
		all = append(all, d)
	}
	return all
}()

// TestArrays saves arrays of any dtype and of odd shapes, in any format and in chunks of
// any size, some sharded, and reads them in every way.
func TestArrays(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		shape := rapid.SliceOfN(rapid.SampledFrom([]int{0, 1, 2, 3, 5, 7, 8, 16, 33}), 0, 4).Draw(rt, "shape")
		d := rapid.SampledFrom(allDTypes).Draw(rt, "dtype")
		a := random(t, d, shape...)
		s := StorageOptions{
			Zarr2:      rapid.Bool().Draw(rt, "zarr2"),
			PlainFiles: rapid.Bool().Draw(rt, "files"),
		}
		if a.Len() < 2000 && rapid.Bool().Draw(rt, "split") {
			s.ChunkByteSize = d.Size() * rapid.IntRange(1, 100).Draw(rt, "chunk")
		}
		if len(shape) > 0 && a.Len() < 2000 && rapid.Bool().Draw(rt, "axes") {
			s.ShardAxes = []int{rapid.IntRange(0, len(shape)-1).Draw(rt, "axis")}
		}
		if rapid.Bool().Draw(rt, "zstd") {
			s.Compression = zarr.Zstd(rapid.SampledFrom([]int{-5, 1, 3, 9}).Draw(rt, "level"))
		}
		if len(shape) > 0 && rapid.Bool().Draw(rt, "sharded") {
			a = a.WithSharding(divided(shape))
		}
		opened, _ := savedTree(t, map[string]any{"a": a}, s)
		for _, err := range opened.Verify(t.Context()) {
			rt.Error(err)
		}
		got, err := opened.Load(t.Context())
		if err != nil {
			rt.Fatal(err)
		}
		b := got.(map[string]any)["a"].(*array.Array)
		if !b.Equal(a) || !reflect.DeepEqual(b.Sharding(), a.Sharding()) {
			rt.Errorf("%v came back as %v", a, b)
		}
		into := random(t, d, shape...)
		for i := range into.Bytes() {
			into.Bytes()[i] = 1
		}
		if err := opened.LoadInto(t.Context(), map[string]any{"a": into}, tree.BindOptions{}); err != nil || !into.Equal(a) {
			rt.Errorf("loading into memory: %v", err)
		}
		out := &memory{b: make([]byte, len(a.Bytes()))}
		if err := opened.CopyTo(t.Context(), out, func(*view.LeafMetadata) (int64, bool) { return 0, true }); err != nil {
			rt.Error(err)
		}
		if !bytes.Equal(out.b, a.Bytes()) {
			rt.Errorf("CopyTo gives something else")
		}
		section, err := array.NewSection(d, shape, bytes.NewReader(a.Bytes()), 0)
		if err != nil {
			rt.Fatal(err)
		}
		again, _ := savedTree(t, map[string]any{"a": section}, s)
		if leaf, err := loadLeaf(t, again, "a"); err != nil || !leaf.(*array.Array).Equal(a) {
			rt.Errorf("saved from a section: %v, %v", leaf, err)
		}
	})
}

// divided is a sharding over two devices along the first axis that two divides.
func divided(shape []int) *sharding.Sharding {
	spec := make(sharding.PartitionSpec, len(shape))
	for i, n := range shape {
		if n > 0 && n%2 == 0 {
			spec[i] = []string{"x"}
			break
		}
	}
	mesh := sharding.Mesh{Shape: []int{2}, AxisNames: []string{"x"}}
	return sharding.Named(mesh, spec)
}

// memory is an io.WriterAt.
type memory struct{ b []byte }

func (m *memory) WriteAt(p []byte, off int64) (int, error) { return copy(m.b[off:], p), nil }

func TestShardsAreWholeChunks(t *testing.T) {
	a := random(t, array.Float32, 8, 6).WithSharding(divided([]int{8, 6}))
	opened, _ := savedTree(t, map[string]any{"a": a}, StorageOptions{})
	m := opened.Metadata().Leaves[0]
	if m.ValueType != "jax.Array" || !slices.Equal(m.WriteShape, []int{4, 6}) || !slices.Equal(m.ChunkShape, []int{4, 6}) {
		t.Errorf("%+v", m)
	}
	if !reflect.DeepEqual(m.Sharding, a.Sharding()) {
		t.Errorf("sharding %v", m.Sharding)
	}
	opened, _ = savedTree(t, map[string]any{"a": a}, StorageOptions{ArrayOptions: ArrayOptions{ChunkByteSize: 30}})
	if m := opened.Metadata().Leaves[0]; 4%m.ChunkShape[0] != 0 || 6%m.ChunkShape[1] != 0 || m.ChunkShape[0]*m.ChunkShape[1]*4 > 30 {
		t.Errorf("chunks %v", m.ChunkShape)
	}
}

func TestStorageOfEachLeaf(t *testing.T) {
	state := map[string]any{
		"w": random(t, array.Float32, 16, 8).WithSharding(sharding.SingleDevice("gpu:1")), "v": random(t, array.Float32, 16, 8), "n": 7, "b": []byte("bytes"), "f": 1.5,
	}
	var asked []string
	s := StorageOptions{
		ArrayOptions: ArrayOptions{DType: array.BFloat16},
		PerLeaf: func(leaf string, a array.ShapeDtypeStruct, o ArrayOptions) ArrayOptions {
			asked = append(asked, fmt.Sprint(leaf, " ", a, " ", a.Sharding))
			if leaf == "v" {
				o.DType, o.ChunkByteSize, o.Compression = array.Invalid, 64, zarr.Zstd(1)
			}
			return o
		},
	}
	opened, _ := savedTree(t, state, s)
	slices.Sort(asked)
	if !slices.Equal(asked, []string{"v float32[16 8] none", "w float32[16 8] SingleDeviceSharding(device=gpu:1)"}) {
		t.Errorf("asked for %q", asked)
	}
	got := map[string]string{}
	for _, l := range opened.Metadata().Leaves {
		got[l.Path.String()] = fmt.Sprintf("%v%v%v %v", l.DType, l.Shape, l.ChunkShape, strings.Contains(l.Codecs, "zstd"))
	}
	want := map[string]string{
		"b": "uint8[5][5] false", "f": "float64[][] false", "n": "int64[][] false",
		"v": "float32[16 8][4 4] true", "w": "bfloat16[16 8][16 8] false",
	}
	if c := got["v"]; strings.HasPrefix(c, "float32[16 8]") && strings.HasSuffix(c, "true") {
		want["v"] = c // zarr decides how 64 bytes are shaped
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	loaded, err := opened.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := loaded.(map[string]any)
	cast, err := state["w"].(*array.Array).Cast(array.BFloat16)
	if err != nil {
		t.Fatal(err)
	}
	if !m["w"].(*array.Array).Equal(cast) || !m["v"].(*array.Array).Equal(state["v"].(*array.Array)) || m["n"] != 7 || m["f"] != 1.5 {
		t.Errorf("got %v, want w=%v v=%v n=7 f=1.5", m, cast, state["v"])
	}
}

func TestFormats(t *testing.T) {
	for want, s := range map[string]StorageOptions{
		"ocdbt+zarr3": {}, "ocdbt+zarr2": {Zarr2: true}, "files+zarr3": {PlainFiles: true}, "files+zarr2": {Zarr2: true, PlainFiles: true},
	} {
		// These names are awkward as file names. The second state is a bare leaf.
		state := map[string]any{
			"a.b": 1, "c/d": 2, "é 😀": 3, "line\nfeed": 4, "x": map[string]any{"y": []any{5, nil, "s"}}, "zarr.json": 6, "c": 7, "0": 8,
		}
		opened, path := savedTree(t, state, s)
		if f := opened.Metadata().Format; f != want {
			t.Errorf("format %s, want %s", f, want)
		}
		got, err := opened.Load(t.Context())
		if err != nil || !reflect.DeepEqual(got, map[string]any(state)) {
			t.Errorf("%s: %v, %v", want, got, err)
		}
		if _, err := os.Stat(filepath.Join(path, "manifest.ocdbt")); (err == nil) != !s.PlainFiles {
			t.Errorf("%s: manifest: %v", want, err)
		}
		bare, _ := savedTree(t, random(t, array.Int16, 3, 5), s)
		if v, err := bare.Load(t.Context()); err != nil || !v.(*array.Array).Equal(random(t, array.Int16, 3, 5)) {
			t.Errorf("%s: bare leaf: %v, %v", want, v, err)
		}
		for _, v := range []any{"text", []any{nil}, tree.Tuple{"a", nil}} { // no arrays at all
			none, _ := savedTree(t, v, s)
			if _, err := none.Load(t.Context()); err != nil || none.Verify(t.Context()) != nil {
				t.Errorf("%s: %v: %v", want, v, err)
			}
		}
	}
}

func loadLeaf(t testing.TB, from *view.Tree, name string) (any, error) {
	leaf, err := from.Leaf(name)
	if err != nil {
		return nil, err
	}
	return leaf.Load(t.Context())
}

func TestLoadLeaf(t *testing.T) {
	opened, _ := savedTree(t, map[string]any{"a": map[string]any{"b": 3}, "s": "x"}, StorageOptions{})
	if v, err := loadLeaf(t, opened, "a.b"); v != 3 || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	if v, err := loadLeaf(t, opened, "s"); v != "x" || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	for _, name := range []string{"a", "", "zz"} {
		var leaf *fault.Leaf
		if _, err := loadLeaf(t, opened, name); !errors.Is(err, fault.ErrStructure) || !errors.As(err, &leaf) || leaf.Path != name {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Verify names each damaged leaf and no other leaf.
func TestVerifyNamesLeaves(t *testing.T) {
	state := map[string]any{}
	for i := range 6 {
		state[fmt.Sprint("w", i)] = random(t, array.Float32, 500)
	}
	opened, path := savedTree(t, state, StorageOptions{PlainFiles: true})
	for _, name := range []string{"w1", "w4"} {
		file := filepath.Join(path, name, "c/0")
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b[100] ^= 4
		if err := os.WriteFile(file, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(path, "w2/c/0")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, err := range opened.Verify(t.Context()) {
		var leaf *fault.Leaf
		if !errors.As(err, &leaf) || !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("%v", err)
			continue
		}
		got = append(got, leaf.Path)
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"w1", "w2", "w4"}) {
		t.Errorf("damaged are %q", got)
	}
}
