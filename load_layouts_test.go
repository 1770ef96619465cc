package orbax_test

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
	"github.com/go-orbax/orbax/zarr"
)

// Any tree, stored in any form, is loaded by every way as a model says: the
// elements one by one.
func TestLoadsAgreeWithModel(t *testing.T) {
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		path := filepath.Join(dir, strconv.Itoa(n))
		leaves := drawTree(rt)
		if err := orbax.Save(t.Context(), path, build(rt, leaves), orbax.Storage(drawStorage(rt))); err != nil {
			rt.Fatal(err)
		}
		ck, err := orbax.Open(t.Context(), path)
		if err != nil {
			rt.Fatal(err)
		}
		defer ck.Close()
		l := modelled{rt, t, ck, leaves}
		l.checkLoad()
		l.checkInto()
		l.checkAbstract()
		l.checkSelect()
		l.checkLazy(path + "-again")
	})
}

var modelDTypes = []array.DType{
	array.Bool, array.Int4, array.Int8, array.Uint16, array.Int32, array.Int64, array.Uint64,
	array.BFloat16, array.Float16, array.Float32, array.Float64, array.Complex64,
}

func drawArray(rt *rapid.T, d array.DType, shape []int) *array.Array {
	n, _ := array.NumElements(shape)
	b := rapid.SliceOfN(rapid.Byte(), n*d.Size(), n*d.Size()).Draw(rt, "elements")
	if d == array.Bool {
		for i := range b {
			b[i] &= 1
		}
	}
	array.Canonicalize(d, b)
	a, err := array.New(d, shape, b)
	if err != nil {
		rt.Fatal(err)
	}
	return a
}

func drawLeaf(rt *rapid.T) any {
	switch rapid.IntRange(0, 9).Draw(rt, "kind") {
	case 0:
		return rapid.Int().Draw(rt, "int")
	case 1:
		return rapid.Float32().Draw(rt, "float32")
	case 2:
		return rapid.String().Draw(rt, "string")
	case 3:
		return rapid.SliceOf(rapid.Byte()).Draw(rt, "bytes")
	case 4:
		return rapid.SampledFrom([]any{tree.None, tree.EmptyDict, tree.EmptyList}).Draw(rt, "empty")
	case 5:
		key, err := array.PRNGKey("threefry2x32", drawArray(rt, array.Uint32, []int{rapid.IntRange(1, 3).Draw(rt, "keys"), 2}))
		if err != nil {
			rt.Fatal(err)
		}
		return key.WithSharding(sharding.SingleDevice("cpu:0"))
	}
	a := drawArray(rt, rapid.SampledFrom(modelDTypes).Draw(rt, "dtype"), rapid.SliceOfN(rapid.IntRange(0, 6), 0, 3).Draw(rt, "shape"))
	if rapid.Bool().Draw(rt, "sharded") {
		a = a.WithSharding(sharding.SingleDevice("cpu:0"))
	}
	return a
}

// drawTree returns the leaves of a dict of leaves, dicts and lists.
func drawTree(rt *rapid.T) (leaves []tree.Leaf) {
	for i := range rapid.IntRange(1, 4).Draw(rt, "keys") {
		at := tree.Path{{Name: "k" + strconv.Itoa(i)}}
		switch rapid.IntRange(0, 2).Draw(rt, "node") {
		case 0:
			leaves = append(leaves, tree.Leaf{Path: at, Value: drawLeaf(rt)})
		default:
			seq := rapid.Bool().Draw(rt, "seq")
			for j := range rapid.IntRange(1, 3).Draw(rt, "length") {
				path := append(slices.Clone(at), tree.Key{Name: strconv.Itoa(j), Seq: seq})
				leaves = append(leaves, tree.Leaf{Path: path, Value: drawLeaf(rt)})
			}
		}
	}
	return leaves
}

func drawStorage(rt *rapid.T) (s handler.StorageOptions) {
	s.Zarr2 = rapid.Bool().Draw(rt, "zarr2")
	s.PlainFiles = rapid.Bool().Draw(rt, "plain files")
	s.ChunkByteSize = rapid.SampledFrom([]int{0, 8, 40}).Draw(rt, "chunk bytes")
	if rapid.Bool().Draw(rt, "zstd") {
		s.Compression = zarr.Zstd(1)
	}
	return s
}

func build(rt *rapid.T, leaves []tree.Leaf) any {
	v, err := tree.Build(leaves)
	if err != nil {
		rt.Fatal(err)
	}
	return v
}

// modelled is a checkpoint, and what is in it.
type modelled struct {
	*rapid.T
	t      *testing.T
	ck     *orbax.Checkpoint
	leaves []tree.Leaf
}

// same compares trees, whose leaves may hold NaN.
func (m modelled) same(what string, got, want any) {
	m.Helper()
	if g, w := bitwise(got), bitwise(want); !reflect.DeepEqual(g, w) {
		m.Fatalf("%s: got %v, want %v", what, g, w)
	}
}

// bitwise returns a tree with strings that tell all of them apart in the place of
// numbers and arrays.
func bitwise(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, kid := range v {
			out[k] = bitwise(kid)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, kid := range v {
			out[i] = bitwise(kid)
		}
		return out
	case *array.Array:
		return fmt.Sprintf("%v%v %x %s %v", v.DType(), v.Shape(), v.Bytes(), v.PRNGImpl(), v.Sharding())
	}
	if a := array.ScalarOf(v); a != nil {
		return fmt.Sprintf("%T %x", v, a.Bytes())
	}
	return v
}

func (m modelled) checkLoad() {
	got, err := m.ck.Load(m.t.Context())
	if err != nil {
		m.Fatal(err)
	}
	m.same("Load", got, build(m.T, m.leaves))
}

// asked is an array of another dtype and shape than a.
func (m modelled) asked(a *array.Array) *array.Array {
	shape := a.Shape()
	for i := range shape {
		shape[i] = max(0, shape[i]+rapid.IntRange(-2, 2).Draw(m.T, "difference"))
	}
	out, err := array.New(rapid.SampledFrom(modelDTypes).Draw(m.T, "other dtype"), shape, nil)
	if err != nil {
		m.Fatal(err)
	}
	if out.DType() != array.Bool {
		for i := range out.Bytes() {
			out.Bytes()[i] = 0xaa // what is to be overwritten
		}
		array.Canonicalize(out.DType(), out.Bytes())
	}
	return out
}

// cast is what the elements of a are in an array of dtype d and another shape.
func (m modelled) cast(a *array.Array, d array.DType, shape []int) *array.Array {
	n, _ := array.NumElements(a.Shape())
	all := make([]byte, n*d.Size())
	if err := array.Convert(all, d, a.Bytes(), a.DType()); err != nil {
		m.Fatal(err)
	}
	out, err := array.New(d, shape, nil)
	if err != nil {
		m.Fatal(err)
	}
	total, _ := array.NumElements(shape)
	for e := range total {
		from, rest, stride, inside := 0, e, 1, true
		for i := len(shape) - 1; i >= 0; i-- {
			x := rest % shape[i]
			rest /= shape[i]
			from += x * stride
			stride *= a.Shape()[i]
			inside = inside && x < a.Shape()[i]
		}
		if inside {
			copy(out.Bytes()[e*d.Size():][:d.Size()], all[from*d.Size():])
		}
	}
	return out
}

// checkInto fills arrays in place, of other dtypes and shapes, and leaves out some
// leaves.
func (m modelled) checkInto() {
	var target, want []tree.Leaf
	filled := map[*array.Array]*array.Array{}
	for _, l := range m.leaves {
		a, ok := l.Value.(*array.Array)
		switch how := rapid.IntRange(0, 3).Draw(m.T, "how"); {
		case how == 0 && !slices.ContainsFunc(l.Path, func(k tree.Key) bool { return k.Seq }):
			continue // Partial
		case how == 1:
			target = append(target, tree.Leaf{Path: l.Path, Value: tree.Placeholder})
			want = append(want, tree.Leaf{Path: l.Path, Value: tree.Placeholder})
		case ok && a.PRNGImpl() == "":
			into := m.asked(a)
			filled[into] = m.cast(a, into.DType(), into.Shape())
			target = append(target, tree.Leaf{Path: l.Path, Value: into})
			want = append(want, tree.Leaf{Path: l.Path, Value: filled[into]})
		default:
			target = append(target, tree.Leaf{Path: l.Path, Value: nil})
			want = append(want, l)
		}
	}
	if len(target) == 0 {
		return
	}
	into := build(m.T, target)
	if err := m.ck.LoadInto(m.t.Context(), into, orbax.Cast(), orbax.PadOrTruncate(), orbax.Partial()); err != nil {
		m.Fatal(err)
	}
	m.same("LoadInto", into, build(m.T, want))
	for into, want := range filled {
		m.same("in place", into, want)
	}
}

func (m modelled) checkAbstract() {
	var abstract, want []tree.Leaf
	for _, l := range m.leaves {
		add := func(ask, get any) {
			abstract = append(abstract, tree.Leaf{Path: l.Path, Value: ask})
			want = append(want, tree.Leaf{Path: l.Path, Value: get})
		}
		switch v := l.Value.(type) {
		case *array.Array:
			if v.PRNGImpl() != "" {
				add(array.Abstract(v), v)
				continue
			}
			ask := m.asked(v)
			add(array.ShapeDtypeStruct{DType: ask.DType(), Shape: ask.Shape()}, m.cast(v, ask.DType(), ask.Shape()).WithSharding(v.Sharding()))
		case int:
			a := m.cast(array.ScalarOf(v), array.Float32, nil)
			get, _ := a.Item()
			add(float32(0), get)
		case float32:
			a := m.cast(array.ScalarOf(v), array.Int16, nil)
			get, _ := a.Item()
			add(int16(0), get)
		default:
			add(v, v)
		}
	}
	got, err := m.ck.LoadAbstract(m.t.Context(), build(m.T, abstract), orbax.Cast(), orbax.PadOrTruncate())
	if err != nil {
		m.Fatal(err)
	}
	m.same("LoadAbstract", got, build(m.T, want))

	meta, err := m.ck.Metadata(m.t.Context())
	if err != nil {
		m.Fatal(err)
	}
	if got, err = m.ck.LoadAbstract(m.t.Context(), meta); err != nil {
		m.Fatal(err)
	}
	m.same("LoadAbstract of the metadata", got, build(m.T, m.leaves))
}

// checkSelect wants the leaves that are selected, with positions in the place of
// sequences with gaps.
func (m modelled) checkSelect() {
	keep := map[string]bool{}
	kept := map[string][]string{} // positions by sequence
	var want []tree.Leaf
	for _, l := range m.leaves {
		if rapid.Bool().Draw(m.T, "keep") {
			want = append(want, l)
			keep[l.Path.String()] = true
			kept[l.Path[0].Name] = append(kept[l.Path[0].Name], l.Path[len(l.Path)-1].Name)
		}
	}
	if len(want) == 0 {
		return
	}
	for i, l := range want {
		positions := kept[l.Path[0].Name]
		if last, _ := strconv.Atoi(positions[len(positions)-1]); len(l.Path) == 2 && l.Path[1].Seq && last >= len(positions) {
			want[i].Path = tree.Path{l.Path[0], {Name: l.Path[1].Name}}
		}
	}
	got, err := m.ck.Load(m.t.Context(), orbax.SelectFunc(func(meta *view.LeafMetadata) bool { return keep[meta.Path.String()] }))
	if err != nil {
		m.Fatal(err)
	}
	m.same("SelectFunc", got, build(m.T, want))
	var patterns []string
	for name := range keep {
		patterns = append(patterns, name)
	}
	if got, err = m.ck.Load(m.t.Context(), orbax.Select(patterns...)); err != nil {
		m.Fatal(err)
	}
	m.same("Select", got, build(m.T, want))
}

// checkLazy saves the tree as it is read.
func (m modelled) checkLazy(path string) {
	v, err := m.ck.Tree(m.t.Context())
	if err != nil {
		m.Fatal(err)
	}
	lazy, err := v.Lazy(m.t.Context())
	if err != nil {
		m.Fatal(err)
	}
	if !slices.ContainsFunc(m.leaves, func(l tree.Leaf) bool { _, empty := l.Value.(tree.Empty); return !empty }) {
		return
	}
	if err := orbax.Save(m.t.Context(), path, lazy, orbax.Storage(drawStorage(m.T))); err != nil {
		m.Fatal(err)
	}
	got, err := orbax.Load(m.t.Context(), path)
	if err != nil {
		m.Fatal(err)
	}
	m.same("Lazy", got, build(m.T, m.leaves))
}
