package tree_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/tree"
)

// key has no dot, so that names cannot collide.
var key = rapid.StringMatching(`[a-c/é'"]{0,3}`)

func leafValue(t *rapid.T) any {
	switch rapid.IntRange(0, 11).Draw(t, "leaf") {
	case 0:
		return rapid.Bool().Draw(t, "v")
	case 1:
		return rapid.Int().Draw(t, "v")
	case 2:
		return rapid.Int8().Draw(t, "v")
	case 3:
		return rapid.Uint64().Draw(t, "v")
	case 4:
		return rapid.Float32().Draw(t, "v")
	case 5:
		return complex(rapid.Float64().Draw(t, "re"), 1)
	case 6:
		return rapid.String().Draw(t, "v")
	case 7:
		return rapid.SliceOfN(rapid.Byte(), 0, 4).Draw(t, "v")
	case 8:
		return array.Of(rapid.SliceOfN(rapid.Float32(), 0, 4).Draw(t, "v"))
	case 9:
		return array.Of(rapid.SliceOfN(rapid.Int16(), 6, 6).Draw(t, "v"), 2, 3)
	case 10:
		return tree.Tuple{}
	}
	return nil
}

// value draws a tree of the types that Build makes.
func value(t *rapid.T, depth int) any {
	switch k := rapid.IntRange(0, 3).Draw(t, "kind"); {
	case depth == 0 || k == 0:
		return leafValue(t)
	case k == 1:
		s := make([]any, rapid.IntRange(0, 12).Draw(t, "n"))
		for i := range s {
			s[i] = value(t, depth-1)
		}
		return s
	}
	m := map[string]any{}
	for range rapid.IntRange(0, 4).Draw(t, "n") {
		m[key.Draw(t, "key")] = value(t, depth-1)
	}
	return m
}

func TestRoundTripPlain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := value(t, 3)
		leaves, err := tree.Flatten(in)
		if err != nil {
			t.Fatal(err)
		}
		shuffled := rapid.Permutation(leaves).Draw(t, "order")
		built, err := tree.Build(shuffled)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(in, built) {
			t.Fatalf("Build gave %#v, want %#v", built, in)
		}
		var out any
		if err := load(&out, shuffled); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(in, out) {
			t.Fatalf("Bind gave %#v, want %#v", out, in)
		}
		if err := load(&built, leaves); err != nil { // as its own template
			t.Fatal(err)
		}
		if !reflect.DeepEqual(in, built) {
			t.Fatalf("Bind to a template gave %#v, want %#v", built, in)
		}
	})
}

type inner struct {
	_ struct{} `orbax:",seq"`
	A int8
	B []string
	C *inner
	D any
}

type common struct {
	Note string `orbax:"note,omitempty"`
	Lr   float32
}

type everything struct {
	common
	*Base
	I    int
	U    uint16
	F    float64
	C    complex64
	S    myString
	B    []byte
	X    []float32
	Y    [3]int32
	Z    []array.BF16
	H    array.F16
	Arr  *array.Array
	M    map[int8]*inner
	L    [][]uint8
	T    tree.Tuple
	Big  *big.Int
	N    *node
	P    **bool
	Flag bool `orbax:",omitempty"`
	Any  any
}

func innerGen(depth int) *rapid.Generator[*inner] {
	return rapid.Custom(func(t *rapid.T) *inner {
		in := &inner{A: rapid.Int8().Draw(t, "a"), D: value(t, 1)}
		if rapid.Bool().Draw(t, "b") {
			in.B = rapid.SliceOfN(rapid.String(), 0, 3).Draw(t, "b")
		}
		if depth > 0 {
			in.C = innerGen(depth-1).Draw(t, "c")
		}
		return in
	})
}

var everythingGen = rapid.Custom(func(t *rapid.T) everything {
	maybe := func() bool { return rapid.Bool().Draw(t, "maybe") }
	e := everything{
		common: common{rapid.String().Draw(t, "note"), rapid.Float32().Draw(t, "lr")},
		I:      rapid.Int().Draw(t, "i"),
		U:      rapid.Uint16().Draw(t, "u"),
		F:      rapid.Float64().Draw(t, "f"),
		S:      myString(rapid.String().Draw(t, "s")),
		B:      rapid.SliceOf(rapid.Byte()).Draw(t, "b"),
		Y:      [3]int32(rapid.SliceOfN(rapid.Int32(), 3, 3).Draw(t, "y")),
		H:      array.F16(rapid.Uint16().Draw(t, "h")),
		M:      rapid.MapOf(rapid.Int8(), innerGen(1)).Draw(t, "m"),
		T:      tree.Tuple{1, value(t, 1)},
		Flag:   maybe(),
		Any:    value(t, 2),
	}
	if maybe() {
		e.Base = &Base{Mu: 1}
		e.X = rapid.SliceOf(rapid.Float32()).Draw(t, "x")
		e.Z = []array.BF16{array.BF16(rapid.Uint16().Draw(t, "z"))}
	}
	if maybe() {
		e.Arr = array.Of([]int8{1, 2}, 1, 2)
		e.L = [][]uint8{{1}, nil, {}}
		e.Big = new(big.Int).SetUint64(rapid.Uint64().Draw(t, "big"))
		e.N = &node{kids: []any{1, "x"}}
		e.P = ptr(ptr(true))
	}
	return e
})

func TestRoundTripStruct(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := everythingGen.Draw(t, "in")
		leaves, err := tree.Flatten(&in)
		if err != nil {
			t.Fatal(err)
		}
		var out everything
		if err := load(&out, leaves); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(in, out) {
			t.Fatalf("got  %+v\nwant %+v", out, in)
		}
		other := everythingGen.Draw(t, "other") // a target with other contents
		before, err := tree.Flatten(&other)
		if err != nil {
			t.Fatal(err)
		}
		text := show(before)
		_, _, bindErr := tree.Bind(&other, specsOf(leaves), tree.BindOptions{})
		after, err := tree.Flatten(&other)
		if err != nil || show(after) != text {
			t.Fatalf("Bind (%v) changed the target: %v\nfrom %s\nto   %s", bindErr, err, text, show(after))
		}
	})
}

// TestNamesAsJSON compares the fields of structs with those of encoding/json,
// which reads the tags under its own name.
func TestNamesAsJSON(t *testing.T) {
	type A struct{ X, Y int }
	type B struct {
		X int
		Z int `json:"z" orbax:"z"`
	}
	type deep struct {
		A
		W int
	}
	for _, v := range []any{
		struct {
			A
			X string
		}{},
		struct {
			deep
			B `json:"b" orbax:"b"`
		}{},
		struct {
			deep
			X int `json:"W" orbax:"W"`
		}{},
		struct {
			*A
			deep
		}{A: &A{}},
		struct {
			A `json:"-" orbax:"-"`
			X int
			x int
		}{x: 1},
		struct {
			V int `json:"-"  orbax:"-"`
			U int `json:",omitempty" orbax:",omitempty"`
		}{U: 1},
	} {
		leaves, err := tree.Flatten(v)
		if err != nil {
			t.Errorf("%T: %v", v, err)
			continue
		}
		var got []string
		for _, l := range leaves {
			if name := l.Path[0].Name; !slices.Contains(got, name) {
				got = append(got, name)
			}
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		if want := slices.Sorted(maps.Keys(m)); !slices.Equal(got, want) {
			t.Errorf("%T: names %q, encoding/json has %q", v, got, want)
		}
	}
}

// FuzzBuild checks that no set of paths breaks Build and Bind, and that what
// they accept is flattened to the same paths.
func FuzzBuild(f *testing.F) {
	f.Add("a\nb.#0\nb.#1.c")
	f.Add("\n")
	f.Add("#0\n#2")
	f.Add("a\na.b")
	f.Fuzz(func(t *testing.T, text string) {
		leaves := parseLeaves(text)
		built, err := tree.Build(leaves)
		var out any
		bindErr := load(&out, leaves)
		if (err == nil) != (bindErr == nil) {
			t.Fatalf("Build: %v; Bind: %v", err, bindErr)
		}
		if err != nil {
			return
		}
		if !reflect.DeepEqual(built, out) {
			t.Fatalf("Build gave %#v, Bind %#v", built, out)
		}
		if again, err := tree.Flatten(built); err == nil && len(again) != len(leaves) {
			t.Fatalf("%d leaves became %d", len(leaves), len(again))
		}
	})
}

// parseLeaves reads one path a line, keys separated by dots, positions marked
// with #.
func parseLeaves(text string) []tree.Leaf {
	var leaves []tree.Leaf
	for line := range strings.SplitSeq(text, "\n") {
		var p tree.Path
		if line != "" {
			for k := range strings.SplitSeq(line, ".") {
				name, seq := strings.CutPrefix(k, "#")
				p = append(p, tree.Key{Name: name, Seq: seq})
			}
		}
		leaves = append(leaves, tree.Leaf{Path: p, Value: len(leaves)})
	}
	return leaves
}

func benchmarkTree(layers, leaves int) map[string]any {
	params := map[string]any{}
	for i := range layers {
		layer := map[string]any{}
		for j := range leaves {
			layer[fmt.Sprintf("param_%d", j)] = array.Scalar(float32(j))
		}
		params[fmt.Sprintf("layer_%d", i)] = layer
	}
	return map[string]any{"params": params}
}

func BenchmarkFlatten(b *testing.B) {
	for _, shape := range [][2]int{{1, 100_000}, {10_000, 10}} {
		b.Run(fmt.Sprintf("%dx%d", shape[0], shape[1]), func(b *testing.B) {
			v := benchmarkTree(shape[0], shape[1])
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tree.Flatten(v); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/leaf")
		})
	}
}

func BenchmarkBind(b *testing.B) {
	v := benchmarkTree(10_000, 10)
	leaves, err := tree.Flatten(v)
	if err != nil {
		b.Fatal(err)
	}
	specs := specsOf(leaves)
	for _, target := range []struct {
		name string
		v    func() any
	}{{"template", func() any { return v }}, {"any", func() any { return new(any) }}} {
		b.Run(target.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				slots, finish, err := tree.Bind(target.v(), specs, tree.BindOptions{})
				if err != nil {
					b.Fatal(err)
				}
				for i, s := range slots {
					if err := s.Set(leaves[i].Value); err != nil {
						b.Fatal(err)
					}
				}
				if err := finish(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/leaf")
		})
	}
}
