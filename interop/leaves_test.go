package interop

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
)

// exampleLeaves has one leaf of every kind that both sides save.
func exampleLeaves() map[string]*node {
	leaves := map[string]*node{
		"none": none(), "empty dict": dict(), "empty list": seq("list"), "empty tuple": seq("tuple"),
		"true": boolean(true), "false": boolean(false),
		"int": integer(100), "min int64": integer(math.MinInt64), "max int64": integer(math.MaxInt64),
		"max uint64": {T: "int", Text: "18446744073709551615"},
		"float":      float(0.1), "NaN": float(math.NaN()), "-Inf": float(math.Inf(-1)), "-0": float(math.Copysign(0, -1)),
		"NaN with a payload": {T: "float", Float: [2]uint64{0x7ff8dead0000beef}},
		"str":                text("héllo"), "empty str": text(""), "str with a null": text("a\x00b"), "JSON": text(`{"a": "\n"}`),
	}
	r := rand.New(rand.NewPCG(1, 2))
	bytes := func(d array.DType, n int) []byte {
		b := make([]byte, n*d.Size())
		for i := range b {
			b[i] = byte(r.Uint32())
			switch d {
			case array.Bool:
				b[i] &= 1
			case array.Int2:
				b[i] = byte(int8(b[i]<<6) >> 6)
			case array.Int4:
				b[i] = byte(int8(b[i]<<4) >> 4)
			case array.Float4E2M1FN:
				b[i] &= 15
			}
		}
		return b
	}
	over := &mesh{Mesh: []int{2, 4}, Axes: []string{"x", "y"}, Spec: []any{[]any{"y", "x"}}}
	for _, d := range dtypes {
		for _, lib := range []string{"np", "jax"} {
			leaves[lib+" "+d.String()] = &node{T: "array", Lib: lib, DType: d.String(), Shape: []int{3, 5}, Data: bytes(d, 15)}
			leaves[lib+" scalar "+d.String()] = &node{T: "array", Lib: lib, DType: d.String(), Shape: []int{}, Data: bytes(d, 1)}
		}
		leaves["sharded "+d.String()] = &node{T: "array", Lib: "jax", DType: d.String(), Shape: []int{8, 6}, Data: bytes(d, 48), Sharding: over}
	}
	for impl, words := range map[string]int{"threefry2x32": 2, "rbg": 4, "unsafe_rbg": 4} {
		leaves["key "+impl] = &node{T: "key", Impl: impl, Shape: []int{}, Data: bytes(array.Uint32, words)}
		leaves["keys "+impl] = &node{T: "key", Impl: impl, Shape: []int{3, 2}, Data: bytes(array.Uint32, 6*words)}
	}
	return leaves
}

// exampleNames are keys that are hard on some part of the way.
var exampleNames = []string{
	"a", "a.b", "a/b", "/", "/a", "a/", "//", ".", "..", "../x", " ", "it's", `"`, `'"`, `\`, `\n`, "a\nb", "\r", "\t",
	"\x00", "\x1b", "\x7f", "\u0085", "\u00a0", "\u00ad", "\u200b", "\u2028", "\ufeff", "Größe", "層", "🙂", "e\u0301", "~", "~0", "%41", "$",
	"zarr.json", ".zarray", "c", "c/0", "d", "0", "-1", "None", "()", "('a',)", strings.Repeat("long", 300),
}

// TestLeaves sends each kind of leaf both ways by itself: as the whole tree,
// and in a dict.
func TestLeaves(t *testing.T) {
	needPython(t)
	leaves := exampleLeaves()
	t.Run("together", func(t *testing.T) {
		all := dict()
		for name, leaf := range leaves {
			all.Keys, all.Kids = append(all.Keys, name), append(all.Kids, leaf)
		}
		bothWays(t, all)
	})
	t.Run("bare", func(t *testing.T) {
		for _, name := range []string{"int", "max uint64", "float", "true", "str", "empty str", "np bfloat16", "np scalar float32", "jax int4", "sharded float32", "key rbg"} {
			t.Run(name, func(t *testing.T) { bothWays(t, leaves[name]) })
		}
	})
	t.Run("alone", func(t *testing.T) {
		for _, name := range []string{"none", "empty dict", "empty list", "empty tuple", "str", "int", "np uint8", "jax uint8", "keys threefry2x32"} {
			t.Run(name, func(t *testing.T) { bothWays(t, dict("k", leaves[name])) })
		}
	})
	t.Run("step", func(t *testing.T) { bothWays(t, dict("step", integer(100))) })
}

// bothWays checks that Go loads what Python saves, and Python what Go saves.
func bothWays(t *testing.T, n *node) {
	t.Helper()
	for _, zarr3 := range []bool{true, false} {
		path := filepath.Join(t.TempDir(), "python")
		pySave(t, path, n, request{"use_zarr3": zarr3})
		mustEqual(t, "Python to Go", n.plain(), goLoad(t, path))
		path = filepath.Join(t.TempDir(), "go")
		goSave(t, path, n, orbax.Storage(handler.StorageOptions{Zarr2: !zarr3}))
		mustEqual(t, "Go to Python", n.plain().inPython(), pyLoad(t, path, nil))
	}
}

// TestNames sends each name both ways, as a key of the root and of a subtree,
// and of a string.
func TestNames(t *testing.T) {
	needPython(t)
	for _, name := range append(exampleNames, "") {
		t.Run(name, func(t *testing.T) {
			a := arrayNode("jax", array.Of([]float32{1, 2, 3}))
			n := dict(name, a, "p", dict(name, a, "q", integer(3)))
			if !strings.Contains(name, "~") { // Python cannot load a string of such a name
				n.Kids[1].Kids[1] = seq("list", dict(name, text(name)))
			}
			path := filepath.Join(t.TempDir(), "python")
			pySave(t, path, n, nil)
			mustEqual(t, "Python to Go", n, goLoad(t, path))
			path = filepath.Join(t.TempDir(), "go")
			goSave(t, path, n)
			mustEqual(t, "Go to Python", n, pyLoad(t, path, nil))
		})
	}
	t.Run("string at the root", func(t *testing.T) {
		n := dict()
		for _, name := range exampleNames {
			if !strings.ContainsAny(name, "~/") {
				n.Keys, n.Kids = append(n.Keys, name), append(n.Kids, text(name))
			}
		}
		bothWays(t, n)
	})
}

// TestGoLeaves saves what Python cannot.
func TestGoLeaves(t *testing.T) {
	needPython(t)
	type width struct {
		I8  int8
		U8  uint8
		I16 int16
		U32 uint32
		F32 float32
	}
	value := map[string]any{
		"bytes": []byte("abc"), "no bytes": []byte{}, "complex": complex(1, -2), "complex64": complex64(3i),
		"no elements": array.Of([]float32{}, 0, 3), "bfloat16": array.ToBF16(1.5),
		"width": width{-1, 2, -3, 4, 0.5},
	}
	u8 := func(b []byte) *node {
		return &node{T: "array", Lib: "np", DType: "uint8", Shape: []int{len(b)}, Data: b}
	}
	inPython := dict(
		"bytes", u8([]byte("abc")), "no bytes", u8(nil), "complex", complexNumber(1-2i).inPython(),
		"complex64", arrayNode("np", array.Scalar(complex64(3i))),
		"no elements", arrayNode("np", array.Of([]float32{}, 0, 3)), "bfloat16", arrayNode("np", array.Scalar(array.ToBF16(1.5))),
		"width", dict("I8", integer(-1), "U8", integer(2), "I16", integer(-3), "U32", integer(4), "F32", float(0.5)),
	)
	for name, s := range map[string]handler.StorageOptions{
		"default": {}, "zarr2": {Zarr2: true}, "files": {PlainFiles: true}, "zarr2 files": {Zarr2: true, PlainFiles: true},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "checkpoint")
			if err := orbax.Save(t.Context(), path, value, orbax.Storage(s)); err != nil {
				t.Fatal(err)
			}
			mustEqual(t, "Python", inPython, pyLoad(t, path, nil))
			loaded, err := orbax.Load(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			m := loaded.(map[string]any)
			if b, ok := m["bytes"].([]byte); !ok || string(b) != "abc" {
				t.Errorf("bytes came back as %T %v", m["bytes"], m["bytes"])
			}
			if m["complex"] != complex(1, -2) || m["complex64"] != complex64(3i) {
				t.Errorf("complex numbers came back as %v, %v", m["complex"], m["complex64"])
			}
			if w := m["width"].(map[string]any); w["I8"] != int8(-1) || w["F32"] != float32(0.5) {
				t.Errorf("numbers came back as %v", w)
			}
		})
	}
}

// leafMetadata is what Python's metadata says of a leaf.
type leafMetadata struct {
	Path         []string
	Class, DType string
	Shape        []int
	Sharding     string
}

type pyMetadata struct {
	Custom any   `json:"custom_metadata"`
	Init   int64 `json:"init_timestamp_nsecs"`
	Commit int64 `json:"commit_timestamp_nsecs"`
	Leaves []leafMetadata
	Items  map[string][]leafMetadata
}

// TestMetadata checks what Python tells of a checkpoint without loading it, and
// that it loads by what it tells.
func TestMetadata(t *testing.T) {
	needPython(t)
	path := filepath.Join(t.TempDir(), "checkpoint")
	over := sharding.Named(sharding.Mesh{Shape: []int{8}, AxisNames: []string{"x"}, AxisTypes: []string{sharding.Auto}, DeviceIDs: []int{0, 1, 2, 3, 4, 5, 6, 7}},
		sharding.PartitionSpec{nil, {"x"}})
	state := map[string]any{
		"np":  array.Of([]int16{1, 2, 3, 4, 5, 6}, 3, 2),
		"jax": array.Of(make([]float32, 16), 2, 8).WithSharding(over),
		"n":   7,
	}
	before := time.Now().UnixNano()
	if err := orbax.Save(t.Context(), path, state, orbax.CustomMetadata(map[string]any{"loss": 0.5, "tags": []string{"a"}})); err != nil {
		t.Fatal(err)
	}
	after := time.Now().UnixNano()
	var is struct {
		Is bool `json:"is_checkpoint"`
	}
	mustCall(t, "is_checkpoint", request{"path": path}, &is)
	if !is.Is {
		t.Error("Python says that this is no checkpoint")
	}
	var m pyMetadata
	mustCall(t, "metadata", request{"path": path}, &m)
	if m.Init < before || m.Commit < m.Init || m.Commit > after {
		t.Errorf("times are %d and %d, not between %d and %d", m.Init, m.Commit, before, after)
	}
	custom, _ := m.Custom.(map[string]any)
	if custom["loss"] != 0.5 || len(custom["tags"].([]any)) != 1 {
		t.Errorf("custom metadata is %v", m.Custom)
	}
	if len(m.Leaves) != 3 {
		t.Fatalf("leaves are %+v", m.Leaves)
	}
	for _, l := range m.Leaves {
		switch l.Path[0] {
		case "np":
			if l.Class != "NumpyMetadata" || l.DType != "int16" || len(l.Shape) != 2 || l.Shape[0] != 3 {
				t.Errorf("got %+v", l)
			}
		case "jax":
			if l.Class != "ArrayMetadata" || l.DType != "float32" || l.Shape[1] != 8 || !strings.Contains(l.Sharding, "'x'") {
				t.Errorf("got %+v", l)
			}
		}
	}
	whole, err := fromGo(state)
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "loaded by its own metadata", whole, pyLoad(t, path, request{"kind": "metadata"}))
	mustEqual(t, "loaded into NumPy arrays", asNumPy(whole), pyLoad(t, path, request{"kind": "np"}))
}

func TestCustomMetadata(t *testing.T) {
	needPython(t)
	t.Run("list", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "checkpoint")
		if err := orbax.Save(t.Context(), path, map[string]int{"a": 1}, orbax.CustomMetadata([]int{1, 2})); err != nil {
			t.Fatal(err)
		}
		var m pyMetadata
		mustCall(t, "metadata", request{"path": path}, &m)
		list, _ := m.Custom.(map[string]any)["orbax_go_list"].([]any)
		if len(list) != 2 || list[1] != 2.0 {
			t.Errorf("Python has %v", m.Custom)
		}
		mustEqual(t, "Python", dict("a", integer(1)), pyLoad(t, path, nil))
	})
	t.Run("from Python", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "checkpoint")
		mustCall(t, "save", request{"path": path, "tree": dict("a", integer(1)), "custom_metadata": request{
			"s": "é\n", "n": 3, "f": 0.5, "l": []any{1, nil, true}, "d": request{"e": request{}},
		}}, nil)
		m, err := orbax.Metadata(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		c, _ := m.Custom.(map[string]any)
		if c["s"] != "é\n" || c["n"] != 3 || c["f"] != 0.5 || len(c["l"].([]any)) != 3 || c["d"] == nil {
			t.Errorf("Go has %v", m.Custom)
		}
		if since := time.Since(m.CommitTime); since < 0 || since > time.Hour || m.CommitTime.Before(m.InitTime) {
			t.Errorf("times are %v and %v", m.InitTime, m.CommitTime)
		}
	})
}

// TestOverwrite replaces each side's checkpoints by the other's.
func TestOverwrite(t *testing.T) {
	needPython(t)
	path := filepath.Join(t.TempDir(), "checkpoint")
	pySave(t, path, dict("a", integer(1), "old", text("x")), nil)
	goSave(t, path, dict("a", integer(2)), orbax.Overwrite())
	mustEqual(t, "Go over Python", dict("a", integer(2)), pyLoad(t, path, nil))
	mustCall(t, "save", request{"path": path, "tree": dict("b", integer(3)), "overwrite": true}, nil)
	mustEqual(t, "Python over Go", dict("b", integer(3)), goLoad(t, path))
	goSave(t, path, dict("c", integer(4)), orbax.Overwrite())
	mustEqual(t, "Go over Python", dict("c", integer(4)), pyLoad(t, path, nil))
	if err := call(t.Context(), "save", request{"path": path, "tree": dict("d", integer(5))}, nil); !pyRaises(err) {
		t.Errorf("Python without overwrite: %v", err)
	}
}

// TestName saves and loads under another name than the default.
func TestName(t *testing.T) {
	needPython(t)
	want := dict("w", arrayNode("np", array.Of([]int32{1, 2})))
	path := filepath.Join(t.TempDir(), "python")
	mustCall(t, "save", request{"path": path, "tree": want, "name": "params"}, nil)
	mustEqual(t, "Go, by name", want, goLoad(t, path, orbax.Name("params")))
	mustEqual(t, "Go, by default", want, goLoad(t, path))
	path = filepath.Join(t.TempDir(), "go")
	goSave(t, path, want, orbax.Name("params"))
	var answer struct{ Tree *node }
	mustCall(t, "load", request{"path": path, "name": "params"}, &answer)
	mustEqual(t, "Python, by name", want, answer.Tree)
	mustEqual(t, "Python, by default", want, pyLoad(t, path, nil))
}

// TestTuples loads what Go calls a sequence into Python's own tuples.
func TestTuples(t *testing.T) {
	needPython(t)
	type adam struct {
		_     struct{} `orbax:",seq"`
		Count int32
		Mu    []float32
		Empty tree.Tuple
	}
	path := filepath.Join(t.TempDir(), "checkpoint")
	state := map[string]any{"opt": adam{Count: 3, Mu: []float32{1, 2}, Empty: tree.Tuple{}}, "by step": map[int]string{-1: "a", 10: "b"}}
	if err := orbax.Save(t.Context(), path, state); err != nil {
		t.Fatal(err)
	}
	mu := arrayNode("np", array.Of([]float32{1, 2}))
	mustEqual(t, "as saved", dict(
		"opt", seq("list", integer(3), mu, seq("tuple")),
		"by step", dict("-1", text("a"), "10", text("b"))), pyLoad(t, path, nil))
	own := dict(
		"opt", seq("tuple", integer(3), mu, seq("tuple")),
		"by step", &node{T: "intdict", Keys: []string{"-1", "10"}, Kids: []*node{text("a"), text("b")}})
	mustEqual(t, "into Python's", own, pyLoad(t, path, request{"kind": "np", "tree": own}))
}
