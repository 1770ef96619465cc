package layouts

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// random returns numbers that are the same each time for the same pytree.
func (s *stored) random() *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(s.layout.Row + "/" + s.Name))
	return rand.New(rand.NewPCG(h.Sum64(), 1))
}

// checkRegions reads boxes of each array, and boxes with steps.
func checkRegions(t *testing.T, s *stored) {
	r := s.random()
	opened := s.open(t)
	for _, l := range s.values(t) {
		a := elements(l.Value)
		if a == nil {
			continue
		}
		stored, err := opened.Leaf(l.Path.String())
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			checkRegion(t, stored, a, r)
		}
		for range 5 {
			checkSlices(t, stored, a, r)
		}
	}
}

// elements returns an array, or a number as an array; nil of other leaves.
func elements(v any) *array.Array {
	if a, ok := v.(*array.Array); ok {
		return a
	}
	return array.ScalarOf(v)
}

func checkRegion(t *testing.T, l *view.Leaf, whole *array.Array, r *rand.Rand) {
	t.Helper()
	off, size, step := drawSlab(whole.Shape(), r, 1)
	got, err := l.Region(t.Context(), off, size)
	if err != nil {
		t.Fatal(err)
	}
	if want := gather(t, whole, off, size, step); !got.Equal(want) {
		t.Errorf("%v: the region %v at %v differs", l.Metadata().Path, size, off)
	}
}

func checkSlices(t *testing.T, l *view.Leaf, whole *array.Array, r *rand.Rand) {
	t.Helper()
	off, size, step := drawSlab(whole.Shape(), r, 4)
	if n := len(size) - 1; whole.PRNGImpl() != "" {
		off[n], size[n], step[n] = 0, whole.Shape()[n], 1 // a key cannot be divided
	}
	count := make([]int, len(size))
	for i := range size {
		count[i] = (size[i] + step[i] - 1) / step[i]
		if whole.PRNGImpl() != "" && i == len(size)-1 {
			continue
		}
		var err error
		if l, err = l.Slice(i, off[i], off[i]+size[i], step[i]); err != nil {
			t.Fatal(err)
		}
	}
	v, err := l.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, want := elements(v), gather(t, whole, off, count, step)
	if !slices.Equal(got.Shape(), want.Shape()) || string(got.Bytes()) != string(want.Bytes()) || got.PRNGImpl() != whole.PRNGImpl() {
		t.Errorf("%v: the elements at %v below %v, by %v, differ", l.Metadata().Path, off, size, step)
	}
}

// drawSlab returns a box in an array of the given shape, and steps.
func drawSlab(shape []int, r *rand.Rand, maxStep int) (off, size, step []int) {
	off, size, step = make([]int, len(shape)), make([]int, len(shape)), make([]int, len(shape))
	for i, n := range shape {
		a, b := r.IntN(n+1), r.IntN(n+1)
		off[i], size[i], step[i] = min(a, b), max(a, b)-min(a, b), 1+r.IntN(maxStep)
	}
	return off, size, step
}

// gather copies the elements off, off+step … of each axis, count of them, one by
// one.
func gather(t *testing.T, a *array.Array, off, count, step []int) *array.Array {
	t.Helper()
	shape, item := a.Shape(), a.DType().Size()
	var b []byte
	var walk func(axis, at int)
	walk = func(axis, at int) {
		if axis == len(shape) {
			b = append(b, a.Bytes()[at*item:][:item]...)
			return
		}
		for i := range count[axis] {
			walk(axis+1, at*shape[axis]+off[axis]+i*step[axis])
		}
	}
	walk(0, 0)
	if b == nil {
		b = []byte{}
	}
	got, err := array.New(a.DType(), count, b)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// checkSelect loads what patterns match: some leaves, and all below one key.
func checkSelect(t *testing.T, s *stored) {
	s.checkSelected(t, func(string) bool { return true }, "**")
	var names []string
	for _, l := range s.Leaves {
		names = append(names, l.Path.String())
	}
	if names[0] == "" {
		return // a leaf that is all there is
	}
	var some, patterns []string
	for i := 0; i < len(names); i += 2 {
		some = append(some, names[i])
		patterns = append(patterns, escape(names[i]))
	}
	s.checkSelected(t, func(name string) bool { return slices.Contains(some, name) }, patterns...)

	last := s.Leaves[len(s.Leaves)-1].Path[0].Name
	s.checkSelected(t, func(name string) bool {
		return name == last || strings.HasPrefix(name, last+".")
	}, escape(last)+".**")

	end := names[0][strings.LastIndexByte(names[0], '.')+1:]
	s.checkSelected(t, func(name string) bool {
		return name == end || strings.HasSuffix(name, "."+end)
	}, "**."+escape(end))

	_, err := orbax.Load(t.Context(), s.path, s.options(orbax.Select("**", "no.such.leaf"))...)
	refused(t, err, orbax.ErrStructure)
}

// escape returns the pattern of one name.
func escape(name string) string {
	var b strings.Builder
	for _, r := range name {
		if strings.ContainsRune(`\*?[]{},!`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// checkSelected loads the leaves that match patterns, whose names are those that
// match reports true for.
func (s *stored) checkSelected(t *testing.T, match func(name string) bool, patterns ...string) {
	t.Helper()
	var want []leaf
	for _, l := range s.Leaves {
		if match(l.Path.String()) {
			want = append(want, l)
		}
	}
	sel := orbax.Select(patterns...)
	got := leavesOf(t, s.load(t, sel))
	diffLeaves(t, unseated(got), unseated(want))
	meta := describe(s.open(t, sel).Metadata())
	diffLeaves(t, unseated(meta), unseated((&pytree{Leaves: want}).withoutData()))
}

// unseated returns the leaves with positions in sequences as keys: what is left
// of a sequence may be a dict.
func unseated(leaves []leaf) []leaf {
	p := pytree{Leaves: slices.Clone(leaves)}
	for i, l := range p.Leaves {
		p.Leaves[i].Path = slices.Clone(l.Path)
		for k := range l.Path {
			p.Leaves[i].Path[k] = tree.Key{Name: l.Path[k].Name}
		}
	}
	p.sort()
	return p.Leaves
}

// checkPartial loads into a target that has every other key of each dict.
func checkPartial(t *testing.T, s *stored) {
	whole := s.load(t)
	dict, ok := whole.(map[string]any)
	if !ok {
		t.Skip("not a dict")
	}
	kept := map[string]bool{}
	target := half(dict, nil, kept)
	err := orbax.LoadInto(t.Context(), s.path, half(dict, nil, kept), s.options()...)
	if len(kept) < len(s.Leaves) {
		refused(t, err, orbax.ErrStructure)
	} else if err != nil {
		t.Fatal(err)
	}
	if err := orbax.LoadInto(t.Context(), s.path, target, s.options(orbax.Partial())...); err != nil {
		t.Fatal(err)
	}
	var want []leaf
	for _, l := range s.Leaves {
		if kept[key(l.Path)] {
			want = append(want, l)
		}
	}
	diffLeaves(t, leavesOf(t, target), want)
}

// half returns a target with every other key of v and of the dicts in it, and
// records the leaves below these keys.
func half(v map[string]any, at tree.Path, kept map[string]bool) map[string]any {
	target := map[string]any{}
	n := 0
	for _, k := range sortedKeys(v) {
		if n++; n%2 == 0 {
			continue
		}
		path := append(slices.Clip(at), tree.Key{Name: k})
		if child, ok := v[k].(map[string]any); ok && len(child) > 0 {
			target[k] = half(child, path, kept)
			continue
		}
		target[k] = nil
		below, _ := tree.Flatten(v[k])
		for _, l := range below {
			kept[key(append(slices.Clip(path), l.Path...))] = true
		}
	}
	return target
}
