package interop

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/zarr"
)

// checkpointDir returns a path for a checkpoint of one random tree, below dir.
func checkpointDir(t *rapid.T, dir string) string {
	sub, err := os.MkdirTemp(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sub) })
	return sub
}

func drawStorage(t *rapid.T) handler.StorageOptions {
	return handler.StorageOptions{
		ArrayOptions: handler.ArrayOptions{
			ChunkByteSize: rapid.SampledFrom([]int{0, 0, 16, 64, 1000}).Draw(t, "chunk bytes"),
			Compression:   rapid.SampledFrom([]zarr.Compression{{}, zarr.Zstd(1), zarr.Zstd(3), zarr.Huffman(), zarr.Auto()}).Draw(t, "compression"),
		},
		Zarr2:      rapid.Bool().Draw(t, "zarr2"),
		PlainFiles: rapid.Bool().Draw(t, "plain files"),
	}
}

// goSave saves a tree with Go.
func goSave(t fataler, path string, tree *node, options ...orbax.SaveOption) {
	t.Helper()
	v, err := tree.toGo()
	if err == nil {
		err = orbax.Save(t.Context(), path, v, options...)
	}
	if err != nil {
		t.Fatalf("%v", err)
	}
}

// goLoad loads a tree with Go.
func goLoad(t fataler, path string, options ...orbax.LoadOption) *node {
	t.Helper()
	v, err := orbax.Load(t.Context(), path, options...)
	if err != nil {
		t.Fatalf("%v", err)
	}
	n, err := fromGo(v)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return n
}

func mustEqual(t fataler, what string, want, got *node) {
	t.Helper()
	if d := diff(want, got); d != "" {
		t.Fatalf("%s:\n%s", what, d)
	}
}

// TestGoToPython saves random trees with Go and loads them with Python: as they
// are, into NumPy arrays, and into the shapes that jax.eval_shape tells.
func TestGoToPython(t *testing.T) {
	needPython(t)
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		path := filepath.Join(checkpointDir(t, dir), "checkpoint")
		s := drawStorage(t)
		g := treeGen{t: t, files: s.PlainFiles, goSide: true}
		tree := g.tree()
		goSave(t, path, tree, orbax.Storage(s))
		mustEqual(t, "Go", tree.plain(), goLoad(t, path))
		mustEqual(t, "Python", tree.plain().inPython(), pyLoad(t, path, nil))
		into := tree.inPython()
		if rapid.Bool().Draw(t, "into NumPy") {
			mustEqual(t, "Python, into NumPy arrays", asNumPy(into),
				pyLoad(t, path, request{"kind": "np", "tree": into}))
		} else if evalShapes(into) {
			mustEqual(t, "Python, into shapes", asEvalShape(into),
				pyLoad(t, path, request{"kind": "eval_shape", "tree": into}))
		}
	})
}

// asNumPy is what a load into NumPy arrays gives.
func asNumPy(n *node) *node {
	return n.mapLeaves(func(l *node) *node {
		if l.T == "array" {
			l.Lib = "np"
		}
		l.Sharding = nil
		return l
	})
}

// asEvalShape is what a load into the result of jax.eval_shape gives: jax.Arrays,
// also for numbers.
func asEvalShape(n *node) *node {
	return n.mapLeaves(func(l *node) *node {
		a := &node{T: "array", Lib: "jax", Shape: []int{}}
		switch l.T {
		case "array":
			l.Lib = "jax"
			return l
		case "bool":
			a.DType, a.Data = "bool", []byte{0}
			if l.Bool {
				a.Data[0] = 1
			}
		case "int":
			v, _ := strconv.ParseInt(l.Text, 10, 64)
			a = arrayNode("jax", array.Scalar(v))
		case "float":
			a = arrayNode("jax", array.Scalar(l.Float[0]))
			a.DType = "float64"
		default:
			return l
		}
		return a
	})
}

// evalShapes reports whether jax.eval_shape takes the tree: no integers beyond
// int64.
func evalShapes(n *node) bool {
	return !n.any(func(n *node) bool {
		_, err := strconv.ParseInt(n.Text, 10, 64)
		return n.T == "int" && err != nil
	})
}

// TestPythonToGo saves random trees with Python and loads them with Go, as they
// are and into a value of the same structure. What Go then saves is loaded by
// Python as if it had been Python's own.
func TestPythonToGo(t *testing.T) {
	needPython(t)
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		sub := checkpointDir(t, dir)
		path := filepath.Join(sub, "checkpoint")
		options := request{
			"use_ocdbt":       rapid.Bool().Draw(t, "ocdbt"),
			"use_zarr3":       rapid.Bool().Draw(t, "zarr3"),
			"use_compression": rapid.Bool().Draw(t, "compress"),
		}
		if size := rapid.SampledFrom([]int{0, 0, 64, 1000}).Draw(t, "chunk bytes"); size > 0 {
			options["chunk_byte_size"] = size
		}
		s := drawStorage(t)
		g := treeGen{t: t, files: s.PlainFiles || options["use_ocdbt"] == false}
		tree := g.tree()
		pySave(t, path, tree, options)
		want := tree.plain()
		loaded, err := orbax.Load(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "Go", want, mustNode(t, loaded))

		target := template(reflect.ValueOf(loaded))
		if err := orbax.LoadInto(t.Context(), path, target.Interface()); err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "Go, into a value", want, mustNode(t, plainValue(target.Elem())))

		again := filepath.Join(sub, "again")
		if err := orbax.Save(t.Context(), again, target.Interface(), orbax.Storage(s)); err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "Python, saved again by Go", want, pyLoad(t, again, nil))
	})
}

func mustNode(t fataler, v any) *node {
	t.Helper()
	n, err := fromGo(v)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return n
}

// template returns a pointer to a zero value of a type made for v: structs for
// dicts where the keys can be tags, arrays of v's shapes to be filled in place.
func template(v reflect.Value) reflect.Value {
	for v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	if !v.IsValid() {
		return reflect.New(reflect.TypeFor[any]())
	}
	switch x := v.Interface().(type) {
	case *array.Array:
		p := reflect.New(v.Type())
		zero, _ := array.New(x.DType(), x.Shape(), nil)
		if x.PRNGImpl() == "" && x.Sharding() == nil {
			p.Elem().Set(reflect.ValueOf(zero))
		}
		return p
	case map[string]any:
		var keys []string
		var fields []reflect.StructField
		safe := len(x) > 0
		for _, k := range v.MapKeys() {
			keys = append(keys, k.String())
		}
		slices.Sort(keys)
		for i, k := range keys {
			safe = safe && k != "-" && !strings.Contains(k, ",")
			fields = append(fields, reflect.StructField{
				Name: "F" + strconv.Itoa(i),
				Tag:  reflect.StructTag("orbax:" + strconv.Quote(k)),
				Type: template(v.MapIndex(reflect.ValueOf(k))).Type().Elem(),
			})
		}
		if !safe {
			p := reflect.New(v.Type())
			p.Elem().Set(reflect.MakeMap(v.Type()))
			return p
		}
		p := reflect.New(reflect.StructOf(fields))
		for i, k := range keys {
			p.Elem().Field(i).Set(template(v.MapIndex(reflect.ValueOf(k))).Elem())
		}
		return p
	}
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Interface {
		p := reflect.New(v.Type())
		if v.Len() > 0 {
			p.Elem().Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		}
		for i := range v.Len() {
			p.Elem().Index(i).Set(template(v.Index(i)).Elem())
		}
		return p
	}
	return reflect.New(v.Type())
}

// plainValue returns maps for the structs of template.
func plainValue(v reflect.Value) any {
	for v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	if !v.IsValid() {
		return nil
	}
	switch {
	case v.Kind() == reflect.Struct:
		m := map[string]any{}
		for i := range v.NumField() {
			key, _ := strconv.Unquote(strings.TrimPrefix(string(v.Type().Field(i).Tag), "orbax:"))
			m[key] = plainValue(v.Field(i))
		}
		return m
	case v.Kind() == reflect.Slice && v.Type() == reflect.TypeFor[[]any]():
		s := make([]any, v.Len())
		for i := range s {
			s[i] = plainValue(v.Index(i))
		}
		return s
	}
	return v.Interface()
}
