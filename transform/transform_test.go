package transform_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	. "github.com/go-orbax/orbax/transform"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// treeOf returns the tree of a value in memory.
func treeOf(t testing.TB, v any) *view.Tree {
	t.Helper()
	flat, err := tree.Flatten(v)
	if err != nil {
		t.Fatal(err)
	}
	var leaves []*view.Leaf
	for _, f := range flat {
		l, err := ValueLeaf(f.Value)
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, l.At(f.Path))
	}
	return view.New("memory", leaves)
}

// apply loads what rules make of a value.
func apply(t testing.TB, v any, rules ...Rule) (any, error) {
	t.Helper()
	plan, err := Compile(treeOf(t, v), nil, rules...)
	if err != nil {
		return nil, err
	}
	got, err := plan.Tree().Load(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return got, nil
}

// iota32 returns an array of the numbers from first on.
func iota32(first int, shape ...int) *array.Array {
	n, _ := array.NumElements(shape)
	data := make([]float32, n)
	for i := range data {
		data[i] = float32(first + i)
	}
	a, err := array.New(array.Float32, shape, nil)
	if err != nil {
		panic(err)
	}
	v, _ := array.Values[float32](a)
	copy(v, data)
	return a
}

type dict = map[string]any

func floats(values ...float32) *array.Array { return array.Of(values) }

func keys(t testing.TB) *array.Array {
	t.Helper()
	k, err := array.PRNGKey("threefry2x32", array.Of([]uint32{1, 2, 3, 4}, 2, 2))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestRules(t *testing.T) {
	a, b := floats(1, 2), floats(3, 4)
	matrix := iota32(0, 2, 3) // 0 1 2; 3 4 5
	layers := func() dict {
		return dict{"layer_0": dict{"w": a, "b": floats(5)}, "layer_1": dict{"w": b, "b": floats(6)}}
	}
	stacked := dict{"layers": dict{"w": array.Of([]float32{1, 2, 3, 4}, 2, 2), "b": array.Of([]float32{5, 6}, 2, 1)}}
	isArray := func(m *view.LeafMetadata) bool { return m.Kind == tree.KindArray }
	for name, c := range map[string]struct {
		in    any
		rules []Rule
		want  any
	}{
		"nothing":          {dict{"a": a}, nil, dict{"a": a}},
		"a leaf":           {dict{"a": a, "b": b}, []Rule{Rename(map[string]string{"a": "x.y"})}, dict{"x": dict{"y": a}, "b": b}},
		"change places":    {dict{"a": a, "b": b}, []Rule{Rename(map[string]string{"a": "b", "b": "a"})}, dict{"a": b, "b": a}},
		"a dict":           {dict{"p": dict{"a": a, "b": []any{b, 7}}}, []Rule{Rename(map[string]string{"p": "q.r"})}, dict{"q": dict{"r": dict{"a": a, "b": []any{b, 7}}}}},
		"the longest":      {dict{"p": dict{"a": a, "b": b}}, []Rule{Rename(map[string]string{"p": "q", "p.a": "r"})}, dict{"q": dict{"b": b}, "r": a}},
		"up":               {dict{"p": dict{"a": a}}, []Rule{Rename(map[string]string{"p": ""})}, dict{"a": a}},
		"down":             {dict{"a": a, "s": []any{b}}, []Rule{Rename(map[string]string{"": "p"})}, dict{"p": dict{"a": a, "s": []any{b}}}},
		"the root":         {a, []Rule{Rename(map[string]string{"": "w"})}, dict{"w": a}},
		"no half of a key": {dict{"pa": a, "p": b}, []Rule{Rename(map[string]string{"p": "q"})}, dict{"pa": a, "q": b}},
		"keys with dots":   {dict{"p": dict{"a.b": a}}, []Rule{Rename(map[string]string{"p": "q"})}, dict{"q": dict{"a.b": a}}},
		"beside dots":      {dict{"p.q": dict{"a": a}}, []Rule{Set("p.q.b", Value(b))}, dict{"p.q": dict{"a": a, "b": b}}},
		"all kinds": {
			dict{"p": dict{"s": "text", "n": 3, "f": 2.5, "ok": true, "b": []byte{1, 2}, "none": nil, "d": dict{}, "l": []any{}}},
			[]Rule{Rename(map[string]string{"p": "q"})},
			dict{"q": dict{"s": "text", "n": 3, "f": 2.5, "ok": true, "b": []byte{1, 2}, "none": nil, "d": dict{}, "l": []any{}}},
		},
		"keys": {dict{"k": keys(t)}, []Rule{Unstack("k", 0, "k%d")}, dict{"k0": key(t, 1, 2), "k1": key(t, 3, 4)}},

		"by regexp":       {layers(), []Rule{RenameRegexp(`^layer_(\d+)\.(.*)$`, "blocks.$1.$2")}, dict{"blocks": dict{"0": dict{"w": a, "b": floats(5)}, "1": dict{"w": b, "b": floats(6)}}}},
		"to a sequence":   {layers(), []Rule{RenameRegexp(`layer_(?P<n>\d+)\.(.*)`, "blocks[${n}].$2")}, dict{"blocks": []any{dict{"w": a, "b": floats(5)}, dict{"w": b, "b": floats(6)}}}},
		"whole names":     {dict{"aa": a, "a": b}, []Rule{RenameRegexp(`a`, "x")}, dict{"aa": a, "x": b}},
		"keeps sequences": {dict{"opt": []any{a, b}}, []Rule{RenameRegexp(`opt\.(\d)`, "state.$1")}, dict{"state": []any{a, b}}},
		"renumber":        {dict{"s": []any{a, b}}, []Rule{Rename(map[string]string{"s.0": "s.1", "s.1": "s.0"})}, dict{"s": []any{b, a}}},
		"append":          {dict{"s": []any{a}}, []Rule{Set("s.1", Value(b))}, dict{"s": []any{a, b}}},
		"nested":          {dict{"x": a, "y": b}, []Rule{Rename(map[string]string{"x": "s[0][1].w", "y": "s[0][0]"})}, dict{"s": []any{[]any{b, dict{"w": a}}}}},
		"root sequence":   {dict{"x": a, "y": b}, []Rule{Rename(map[string]string{"x": "[1]", "y": "[0]"})}, []any{b, a}},
		"gaps":            {dict{"s": []any{a, b}}, []Rule{Drop("s.0")}, dict{"s": dict{"1": b}}},
		"moved end":       {dict{"s": []any{a, b}}, []Rule{Rename(map[string]string{"s.1": "t"})}, dict{"s": []any{a}, "t": b}},

		"cast":        {dict{"a": a, "n": 3}, []Rule{Each("a", func(x Expr) Expr { return x.Cast(array.BFloat16) })}, dict{"a": array.Of([]array.BF16{array.ToBF16(1), array.ToBF16(2)}), "n": 3}},
		"cast all":    {dict{"a": a, "s": "x"}, []Rule{EachFunc(isArray, func(x Expr) Expr { return x.Cast(array.Int32) })}, dict{"a": array.Of([]int32{1, 2}), "s": "x"}},
		"cast number": {dict{"n": 3}, []Rule{Each("n", func(x Expr) Expr { return x.Cast(array.Float64) })}, dict{"n": 3.0}},
		"steps":       {dict{"m": matrix}, []Rule{Set("m", Leaf("m").Transpose().Slice(0, 0, 3, 2).Index(-1, 1))}, dict{"m": floats(3, 5)}},
		"transpose":   {dict{"m": iota32(0, 1, 2, 3)}, []Rule{Set("m", Leaf("m").Transpose(-1, 0, 1).Reshape(3, 2))}, dict{"m": array.Of([]float32{0, 3, 1, 4, 2, 5}, 3, 2)}},
		"copies":      {dict{"a": a}, []Rule{Set("b", Leaf("a"))}, dict{"a": a, "b": a}},
		"after drop":  {dict{"a": a}, []Rule{Set("b", Leaf("a")), Drop("a")}, dict{"b": a}},
		"concat":      {dict{"a": a, "b": b}, []Rule{Set("c", Concat(-1, Leaf("b"), Leaf("a"))), DropRest()}, dict{"c": floats(3, 4, 1, 2)}},
		"stack":       {dict{"a": a, "b": b}, []Rule{Set("c", Stack(-1, Leaf("a"), Leaf("b"))), DropRest()}, dict{"c": array.Of([]float32{1, 3, 2, 4}, 2, 2)}},
		"numbers":     {dict{"a": 1.5, "b": 2.5}, []Rule{Set("c", Stack(0, Leaf("a"), Leaf("b"))), DropRest()}, dict{"c": array.Of([]float64{1.5, 2.5})}},
		"value":       {dict{"a": a}, []Rule{Set("n", Value(int64(3))), Set("s", Value("x")), Set("v", Value([]float32{1})), Set("e", Value(nil)), Set("b", Value([]byte{1}))}, dict{"a": a, "n": 3, "s": "x", "v": floats(1), "e": nil, "b": []byte{1}}},
		"default":     {dict{"a": a, "d": dict{"x": b}}, []Rule{Default("a", 1), Default("d", 2), Default("z", 3), DropRest()}, dict{"a": a, "d": dict{"x": b}, "z": 3}},
		"drop":        {dict{"a": a, "d": dict{"x": b, "y": a}}, []Rule{Drop("d", "*a")}, nil},
		"func": {dict{"a": a, "b": b}, []Rule{Set("a", Func(array.Float32, []int{2}, func(_ context.Context, args []*array.Array) (*array.Array, error) {
			x, _ := array.Values[float32](args[0])
			y, _ := array.Values[float32](args[1])
			return floats(x[0]*y[0], x[1]*y[1]), nil
		}, Leaf("a"), Leaf("b").Slice(0, 0, 2, 1)).Slice(0, 1, 2, 1))}, dict{"a": floats(8), "b": b}},

		"stack layers":   {layers(), []Rule{StackRegexp(`layer_(\d+)\.(.*)`, 0, "layers.$2")}, stacked},
		"unstack layers": {stacked, []Rule{Unstack("layers", 0, "layer_%d")}, layers()},
		"one leaf":       {stacked, []Rule{Unstack("layers.w", 0, "w[%d]"), Drop("layers")}, dict{"w": []any{a, b}}},
		"back and forth": {stacked, []Rule{Unstack("layers", 0, "s[%d]"), StackRegexp(`s\.(\d+)\.(.*)`, 0, "layers.$2")}, stacked},
		"concat regexp":  {dict{"w_00": a, "w_01": b}, []Rule{ConcatRegexp(`w_(\d+)`, 0, "w")}, dict{"w": floats(1, 2, 3, 4)}},
		"split":          {dict{"qkv": dict{"kernel": matrix, "bias": floats(7, 8, 9)}}, []Rule{Split("qkv", -1, nil, "q", "k", "v")}, dict{"q": dict{"kernel": array.Of([]float32{0, 3}, 2, 1), "bias": floats(7)}, "k": dict{"kernel": array.Of([]float32{1, 4}, 2, 1), "bias": floats(8)}, "v": dict{"kernel": array.Of([]float32{2, 5}, 2, 1), "bias": floats(9)}}},
		"split sizes":    {dict{"m": matrix}, []Rule{Split("m", 1, []int{1, 0, 2}, "a", "b", "m")}, dict{"a": array.Of([]float32{0, 3}, 2, 1), "b": array.Of([]float32{}, 2, 0), "m": array.Of([]float32{1, 2, 4, 5}, 2, 2)}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := apply(t, c.in, c.rules...)
			if c.want == nil {
				if !errors.Is(err, fault.ErrStructure) {
					t.Fatalf("%v, %v", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := differ("", got, c.want); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func key(t testing.TB, data ...uint32) *array.Array {
	t.Helper()
	k, err := array.PRNGKey("threefry2x32", array.Of(data))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// differ returns where two loaded trees differ, or "".
func differ(at string, got, want any) string {
	switch w := want.(type) {
	case dict:
		g, ok := got.(dict)
		if !ok || len(g) != len(w) {
			return fmt.Sprintf("%s: %T %v, want %v", at, got, got, want)
		}
		for k := range w {
			if d := differ(at+"."+k, g[k], w[k]); d != "" {
				return d
			}
		}
		return ""
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return fmt.Sprintf("%s: %T %v, want %v", at, got, got, want)
		}
		for i := range w {
			if d := differ(fmt.Sprint(at, ".", i), g[i], w[i]); d != "" {
				return d
			}
		}
		return ""
	case *array.Array:
		if g, ok := got.(*array.Array); !ok || !g.Equal(w) || g.PRNGImpl() != w.PRNGImpl() {
			return fmt.Sprintf("%s: %v, want %v", at, got, want)
		}
		return ""
	}
	if !reflect.DeepEqual(got, want) {
		return fmt.Sprintf("%s: %T %v, want %T %v", at, got, got, want, want)
	}
	return ""
}

// TestOthers takes leaves of other trees.
func TestOthers(t *testing.T) {
	params := treeOf(t, dict{"w": floats(1, 2)})
	opt := treeOf(t, dict{"mu": []any{floats(3, 4)}, "nu": floats(5, 6)})
	twice := func(x Expr) Expr { return Concat(0, x, Leaf("nu").Of("opt")) }
	rules := []Rule{Include("opt", "state"), Set("mean", Leaf("mu.0").Of("opt")), Each("w", twice)}
	opened := 0
	open := func(name string) (*view.Tree, error) {
		opened++
		if name != "opt" {
			return nil, fault.ErrNotExist
		}
		return opt, nil
	}
	plan, err := Compile(params, open, rules...)
	if err != nil {
		t.Fatal(err)
	}
	got, err := plan.Tree().Load(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := dict{"w": floats(1, 2, 5, 6), "mean": floats(3, 4), "state": dict{"mu": []any{floats(3, 4)}, "nu": floats(5, 6)}}
	if d := differ("", got, want); d != "" {
		t.Error(d)
	}
	if opened != 1 {
		t.Errorf("opened %d times", opened)
	}
	_, err = Compile(params, open, Set("x", Leaf("nope").Of("opt")))
	if !errors.Is(err, fault.ErrStructure) || !strings.Contains(err.Error(), `no leaf "nope" in checkpointable "opt"`) {
		t.Error(err)
	}

	// What cannot be opened is a mistake of each rule that needs it, among the others.
	_, err = Compile(params, open,
		Set("q", Concat(0, Leaf("x").Of("lost"), Leaf("y").Of("lost"))), Drop("nope"), Include("lost", "foo"), Each("w", func(x Expr) Expr { return x.Index(0, 7) }))
	want2 := []string{`leaf q: rule 1 (Set "q"): does not exist`, `rule 2 (Drop "nope")`, `leaf foo: rule 3 (Include "lost"): does not exist`, `leaf w: rule 4`}
	lines := strings.Split(fmt.Sprint(err), "\n")
	for i, w := range want2 {
		if len(lines) != len(want2) || !strings.Contains(lines[i], w) {
			t.Fatalf("got\n%v\nwant %q", err, want2)
		}
	}
	if !errors.Is(err, fault.ErrNotExist) || opened != 3 {
		t.Errorf("%v; opened %d times", err, opened)
	}
}

func TestPlanString(t *testing.T) {
	in := treeOf(t, dict{"w": iota32(0, 3, 2), "old": floats(1), "n": 3, "s": "text", "key": keys(t), "p": []any{floats(1), floats(2), floats(3), floats(4)}})
	plan, err := Compile(in, nil,
		Unstack("w", 0, "w_%d"),
		Each("w_0", func(x Expr) Expr { return x.Cast(array.BFloat16).Reshape(2, 1) }),
		StackRegexp(`p\.(\d)`, 0, "p"),
		Default("lr", 0.5),
		Drop("old"))
	if err != nil {
		t.Fatal(err)
	}
	const want = `
LEAF  FROM                                          STORED AS         BECOMES               BYTES
key   =                                             key<threefry2x32>[2 2]  key<threefry2x32>[2 2]  16
lr    value                                         -                 float64               8
n     =                                             int64             int64                 8
p     stack 0 (p.0, p.1, … (4 in all))              4 × float32[1]    float32[4 1]          16
s     =                                             string            string                4
w_0   w | index 0 0 | cast bfloat16 | reshape [2 1] float32[3 2]      bfloat16[2 1]         4
w_1   w | index 0 1                                 float32[3 2]      float32[2]            8
w_2   w | index 0 2                                 float32[3 2]      float32[2]            8
old   =                                             float32[1]        dropped               0
8 leaves of 72 bytes, 3 of them as they are; 1 dropped
`
	squeeze := func(s string) string {
		var lines []string
		for line := range strings.Lines(strings.TrimSpace(s)) {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
		return strings.Join(lines, "\n")
	}
	if got := plan.String(); squeeze(got) != squeeze(want) {
		t.Errorf("%s", got)
	}
}
