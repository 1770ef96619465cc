package transform_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	. "github.com/go-orbax/orbax/transform"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// genStep draws an operation on one array.
func genStep(t *rapid.T) (func(Expr) Expr, func(*dense) (*dense, error)) {
	axis := rapid.IntRange(-2, 2).Draw(t, "axis")
	switch rapid.IntRange(0, 4).Draw(t, "step") {
	case 0:
		d := rapid.SampledFrom([]array.DType{array.Int16, array.Float32, array.Float64}).Draw(t, "dtype")
		return func(x Expr) Expr { return x.Cast(d) }, func(a *dense) (*dense, error) { return a.cast(d), nil }
	case 1:
		return func(x Expr) Expr { return x.Transpose() }, func(a *dense) (*dense, error) { return a.transpose(), nil }
	case 2:
		start, step := rapid.IntRange(0, 1).Draw(t, "start"), rapid.IntRange(1, 2).Draw(t, "step")
		stop := start + rapid.IntRange(0, 2).Draw(t, "n")
		return func(x Expr) Expr { return x.Slice(axis, start, stop, step) },
			func(a *dense) (*dense, error) { return a.slice(axis, start, stop, step) }
	case 3:
		i := rapid.IntRange(0, 1).Draw(t, "i")
		return func(x Expr) Expr { return x.Index(axis, i) }, func(a *dense) (*dense, error) { return a.index(axis, i) }
	}
	return func(x Expr) Expr { return x.Reshape(1, -1) }, func(a *dense) (*dense, error) {
		if len(a.data) == 0 {
			return nil, fault.ErrUnsupported // -1 says nothing then
		}
		return &dense{a.dtype, []int{1, len(a.data)}, a.data}, nil
	}
}

// genExpr draws an expression and its value.
func genExpr(t *rapid.T, m *model, depth int) (Expr, *dense, error) {
	kind := rapid.IntRange(0, 3).Draw(t, "expr")
	if depth == 0 || kind == 0 {
		name := genName(t, m)
		m.read = append(m.read, name)
		if d := m.leaves[name]; d != nil {
			return Leaf(name), d, nil
		}
		return Leaf(name), nil, errModel
	}
	if kind == 1 {
		x, d, err := genExpr(t, m, depth-1)
		f, g := genStep(t)
		if err == nil {
			d, err = g(d)
		}
		return f(x), d, err
	}
	axis := rapid.IntRange(-1, 1).Draw(t, "axis")
	var xs []Expr
	var ds []*dense
	var failed error
	for range rapid.IntRange(1, 3).Draw(t, "n") {
		x, d, err := genExpr(t, m, depth-1)
		xs, ds = append(xs, x), append(ds, d)
		if err != nil {
			failed = err
		}
	}
	make, made := Stack, stackDense
	if kind == 2 {
		make, made = Concat, concatDense
	}
	if failed != nil {
		return make(axis, xs...), nil, failed
	}
	d, err := made(axis, ds)
	return make(axis, xs...), d, err
}

// genName draws a name, most often that of a leaf.
func genName(t *rapid.T, m *model) string {
	names := slices.Sorted(maps.Keys(m.leaves))
	if len(names) > 0 && rapid.IntRange(0, 9).Draw(t, "there") > 0 {
		return rapid.SampledFrom(names).Draw(t, "name")
	}
	return rapid.SampledFrom([]string{"a", "b", "p", "p.x", "p.y", "w_0", "w_1"}).Draw(t, "name")
}

// genRule draws a rule, applies it to the model, and returns it.
func genRule(t *rapid.T, m *model) (Rule, error) {
	axis := rapid.IntRange(-1, 1).Draw(t, "axis")
	target := rapid.SampledFrom([]string{"a", "b", "c", "q.x", "q.y", "p", "w_2"}).Draw(t, "target")
	source := genName(t, m)
	if at := strings.IndexByte(source, '.'); at > 0 && rapid.Bool().Draw(t, "all of it") {
		source = source[:at]
	}
	below := m.under(source)
	made := map[string][]*dense{}
	put := func(name string, d *dense) { made[name] = append(made[name], d) }
	rest := func(name string) string { return strings.TrimPrefix(name, source) }

	switch rapid.IntRange(0, 9).Draw(t, "rule") {
	case 0:
		r := Rename(map[string]string{source: target})
		for _, n := range below {
			put(target+rest(n), m.leaves[n])
		}
		if len(below) == 0 {
			return r, errModel
		}
		return r, m.replace(below, made)
	case 1:
		r := RenameRegexp(`p\.(.*)`, "$1.p")
		var old []string
		for n, d := range m.leaves {
			if s, ok := strings.CutPrefix(n, "p."); ok {
				old = append(old, n)
				put(s+".p", d)
			}
		}
		if len(old) == 0 {
			return r, errModel
		}
		return r, m.replace(old, made)
	case 2, 3:
		m.read = nil
		x, d, err := genExpr(t, m, 3)
		if err != nil {
			return Set(target, x), err
		}
		put(target, d)
		var old []string
		if slices.Contains(m.read, target) {
			old = []string{target}
		}
		return Set(target, x), m.replace(old, made)
	case 4:
		f, g := genStep(t)
		r := Each(source, f)
		for _, n := range below {
			d, err := g(m.leaves[n])
			if err != nil {
				return r, err
			}
			put(n, d)
		}
		if len(below) == 0 {
			return r, errModel
		}
		return r, m.replace(below, made)
	case 5:
		r := Unstack(source, axis, target+"_%d")
		count := -1
		for _, n := range below {
			d := m.leaves[n]
			k := axis
			if k < 0 {
				k += len(d.shape)
			}
			if k < 0 || k >= len(d.shape) || d.shape[k] == 0 || count >= 0 && d.shape[k] != count {
				return r, errModel
			}
			count = d.shape[k]
			for i := range count {
				one, _ := d.index(k, i)
				put(target+"_"+strconv.Itoa(i)+rest(n), one)
			}
		}
		if len(below) == 0 {
			return r, errModel
		}
		return r, m.replace(below, made)
	case 6:
		r := Split(source, axis, nil, target, target+"2")
		for _, n := range below {
			d := m.leaves[n]
			k := axis
			if k < 0 {
				k += len(d.shape)
			}
			if k < 0 || k >= len(d.shape) || d.shape[k]%2 != 0 {
				return r, errModel
			}
			half := d.shape[k] / 2
			one, _ := d.slice(k, 0, half, 1)
			two, _ := d.slice(k, half, 2*half, 1)
			put(target+rest(n), one)
			put(target+"2"+rest(n), two)
		}
		if len(below) == 0 {
			return r, errModel
		}
		return r, m.replace(below, made)
	case 7:
		r := StackRegexp(`w_(\d)(.*)`, axis, "w$2")
		re := regexp.MustCompile(`^w_(\d)(.*)$`)
		groups := map[string]map[string]*dense{}
		var old []string
		for n, d := range m.leaves {
			if g := re.FindStringSubmatch(n); g != nil {
				old = append(old, n)
				if groups["w"+g[2]] == nil {
					groups["w"+g[2]] = map[string]*dense{}
				}
				groups["w"+g[2]][g[1]] = d
			}
		}
		for name, group := range groups {
			var args []*dense
			for i := range len(group) {
				if group[strconv.Itoa(i)] == nil {
					return r, errModel
				}
				args = append(args, group[strconv.Itoa(i)])
			}
			d, err := stackDense(axis, args)
			if err != nil {
				return r, err
			}
			put(name, d)
		}
		if len(old) == 0 {
			return r, errModel
		}
		return r, m.replace(old, made)
	case 8:
		if len(below) == 0 {
			return Drop(source), errModel
		}
		return Drop(source), m.replace(below, nil)
	}
	if rapid.Bool().Draw(t, "rest") {
		maps.DeleteFunc(m.leaves, func(n string, _ *dense) bool { return !m.named[n] })
		return DropRest(), nil
	}
	there := m.under(target)
	for _, n := range there {
		m.named[n] = true
	}
	if len(there) == 0 {
		put(target, &dense{array.Float32, []int{1}, []int{7}})
	}
	return Default(target, floats(7)), m.replace(nil, made)
}

// TestRandomRules applies random rules, and compares with the model.
func TestRandomRules(t *testing.T) {
	outcomes := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		m := &model{leaves: map[string]*dense{}, named: map[string]bool{}}
		var leaves []*view.Leaf
		for i, name := range []string{"a", "b", "p.x", "p.y", "w_0", "w_1.z", "w_0.z"} {
			if rapid.IntRange(0, 3).Draw(t, "leave out") == 0 || name == "w_0.z" && m.leaves["w_0"] != nil {
				continue
			}
			shape := rapid.SampledFrom([][]int{{2, 2}, {2, 2}, {2, 4}, {2}, {3, 2}, {}, {0, 2}}).Draw(t, "shape")
			n := 100 * i
			m.leaves[name] = fill(array.Float32, shape, func([]int) int { n++; return n })
			l, err := view.Constant(pathOf(name), m.leaves[name].array())
			if err != nil {
				t.Fatal(err)
			}
			leaves = append(leaves, l)
		}
		var rules []Rule
		var want error
		for range rapid.IntRange(0, 5).Draw(t, "rules") {
			r, err := genRule(t, m)
			rules = append(rules, r)
			if err != nil {
				want = err
				break
			}
			for n := range m.named {
				if m.leaves[n] == nil {
					delete(m.named, n)
				}
			}
		}
		if want == nil && !m.valid() {
			want = errModel
		}
		plan, err := Compile(view.New("memory", leaves), nil, rules...)
		if errors.Is(err, fault.ErrUnsupported) || errors.Is(want, fault.ErrUnsupported) {
			outcomes["a reshape without elements"]++
			return
		}
		if (err != nil) != (want != nil) {
			t.Fatalf("%v: %v, want %v", rules, err, want)
		}
		// Rules that are optional make the same where no leaf is missing.
		optional, optionalErr := Compile(view.New("memory", leaves), nil, Optional(rules...))
		if err != nil {
			outcomes["refused"]++
			return
		}
		outcomes["made"]++
		compare(t, plan, m)
		if optionalErr != nil {
			t.Fatalf("Optional: %v", optionalErr)
		}
		compare(t, optional, m)
	})
	t.Log(outcomes)
}

func pathOf(name string) tree.Path {
	var p tree.Path
	for _, k := range strings.Split(name, ".") {
		p = append(p, tree.Key{Name: k})
	}
	return p
}

func compare(t *rapid.T, plan *Plan, m *model) {
	if plan.Tree().Len() != len(m.leaves) {
		t.Fatalf("%d leaves, want %d:\n%v", plan.Tree().Len(), len(m.leaves), plan)
	}
	for name, l := range plan.Tree().Leaves() {
		d := m.leaves[name]
		if d == nil {
			t.Fatalf("leaf %s\n%v", name, plan)
		}
		v, err := l.Load(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := v.(*array.Array); !ok || !got.Equal(d.array()) {
			t.Fatalf("leaf %s is %v, want %v%v %v\n%v", name, v, d.dtype, d.shape, d.data, plan)
		}
	}
	if lines := strings.Count(fmt.Sprint(plan), "\n"); lines < plan.Tree().Len()+2 {
		t.Fatalf("%d lines:\n%v", lines, plan)
	}
}
