package interop

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
)

// deviceOwner returns the process of a device of a job.
func deviceOwner(id int) int { return id / deviceIDs }

// together calls f in n processes, which are goroutines, and fails if one of them does.
func together(t *testing.T, n int, f func(g *coord.Group) error) {
	t.Helper()
	errs := make([]error, n)
	var all sync.WaitGroup
	for rank, g := range coord.InProcess(n) {
		all.Go(func() {
			defer g.Close()
			errs[rank] = f(g)
		})
	}
	all.Wait()
	for rank, err := range errs {
		if err != nil {
			t.Errorf("process %d of %d: %v", rank, n, err)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// mapValues returns a tree of Go values with every leaf replaced by what f returns for it.
func mapValues(v any, f func(path string, leaf any) any) any { return mapValuesAt("", v, f) }

func mapValuesAt(path string, v any, f func(path string, leaf any) any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) { // f may draw
			m[k] = mapValuesAt(fmt.Sprintf("%s[%q]", path, k), v[k], f)
		}
		return m
	case map[int64]any:
		m := make(map[int64]any, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			m[k] = mapValuesAt(fmt.Sprintf("%s[%d]", path, k), v[k], f)
		}
		return m
	case []any:
		return mapElements(path, v, f)
	case tree.Tuple:
		return tree.Tuple(mapElements(path, v, f))
	}
	return f(path, v)
}

func mapElements(path string, v []any, f func(path string, leaf any) any) []any {
	s := make([]any, len(v))
	for i, kid := range v {
		s[i] = mapValuesAt(fmt.Sprintf("%s[%d]", path, i), kid, f)
	}
	return s
}

// shardsOf returns the shards of an array that a process has.
func shardsOf(whole *array.Array, on *sharding.Sharding, p sharding.Process) (*array.Sharded, error) {
	a, err := array.AllocSharded(array.ShapeDtypeStruct{Shape: whole.Shape(), DType: whole.DType(), Sharding: on}, p)
	if err != nil {
		return nil, err
	}
	for _, s := range a.Shards() {
		copy(s.Array.Bytes(), box(whole, s.Offset, s.Array.Shape()))
	}
	if impl := whole.PRNGImpl(); impl != "" {
		return a.WithPRNGImpl(impl)
	}
	return a, nil
}

// box returns the elements of a part of an array.
func box(a *array.Array, offset, size []int) []byte {
	b, err := array.New(a.DType(), size, nil)
	if err == nil {
		err = array.CopyRegion(b.Bytes(), size, make([]int, len(size)), a.Bytes(), a.Shape(), offset, size, a.DType().Size())
	}
	if err != nil {
		panic(err)
	}
	return b.Bytes()
}

// loadShards loads a checkpoint in n processes over random meshes, with new shards and
// into shards that are there. Each shard is that of the array that one process loads.
func loadShards(t *testing.T, path string, n, seed int) {
	t.Helper()
	loaded, err := orbax.Load(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	on := map[string]*sharding.Sharding{} // of the arrays that come in shards
	target := drawn(seed, n, func(g *treeGen) any {
		g.goSide = true
		return mapValues(loaded, func(path string, leaf any) any {
			a, ok := leaf.(*array.Array)
			if !ok {
				return leaf
			}
			what := array.Abstract(a)
			what.Sharding = nil
			if g.pick("in shards", 4) > 0 {
				m := g.mesh()
				spec := g.spec(m, len(what.Shape), func(int, int) bool { return true })
				if a.PRNGImpl() != "" {
					spec[len(spec)-1] = nil // the words of a key stay together
				}
				m.Spec = specOf(spec)
				what.Sharding = m.toGo()
			}
			on[path] = what.Sharding
			return what
		})
	})
	together(t, n, func(g *coord.Group) error {
		process := sharding.Process{Rank: g.Rank(), Size: n, Owner: deviceOwner}
		got, err := orbax.LoadAbstract(t.Context(), path, target, multihost.Together{Group: g, Owner: deviceOwner})
		if err != nil {
			return err
		}
		if err := sameShards(loaded, got, on, process); err != nil {
			return fmt.Errorf("new shards: %w", err)
		}
		into := mapValues(got, func(_ string, leaf any) any {
			a, ok := leaf.(*array.Sharded)
			if !ok {
				return leaf
			}
			for _, s := range a.Shards() {
				clear(s.Array.Bytes())
			}
			return a
		})
		if err := orbax.LoadInto(t.Context(), path, &into); err != nil {
			return err
		}
		if err := sameShards(loaded, into, on, process); err != nil {
			return fmt.Errorf("shards that are there: %w", err)
		}
		return nil
	})
}

// sameShards compares a tree that a process has loaded with that of one process. on has
// the shardings of the arrays that come in shards, by their paths.
func sameShards(whole, got any, on map[string]*sharding.Sharding, p sharding.Process) error {
	arrays := map[string]*array.Array{}
	mapValues(whole, func(path string, leaf any) any {
		arrays[path], _ = leaf.(*array.Array)
		return nil
	})
	var failed error
	got = mapValues(got, func(path string, leaf any) any {
		if on[path] == nil {
			return leaf
		}
		if err := sameBoxes(arrays[path], leaf, on[path], p); err != nil {
			failed = fmt.Errorf("%s: %w", path, err)
		}
		return arrays[path]
	})
	if failed != nil {
		return failed
	}
	var nodes [2]*node
	for i, v := range []any{whole, got} {
		n, err := fromGo(v)
		if err != nil {
			return err
		}
		nodes[i] = asNumPy(n)
	}
	if d := diff(nodes[0], nodes[1]); d != "" {
		return errors.New(d)
	}
	return nil
}

// sameBoxes checks that got has the boxes of an array that the process holds, and no
// other.
func sameBoxes(want *array.Array, got any, on *sharding.Sharding, p sharding.Process) error {
	a, ok := got.(*array.Sharded)
	if !ok || want == nil {
		return fmt.Errorf("got %v, want shards of %v", got, want)
	}
	boxes, err := p.Boxes(on, want.Shape())
	if err != nil {
		return err
	}
	n := 0
	for _, s := range a.Shards() {
		if s.Array.Len() > 0 {
			n++
		}
		if !bytes.Equal(s.Array.Bytes(), box(want, s.Offset, s.Array.Shape())) {
			return fmt.Errorf("the shard %v at %v over %v differs", s.Array.Shape(), s.Offset, on)
		}
	}
	if n != len(boxes) || a.DType() != want.DType() || a.PRNGImpl() != want.PRNGImpl() || !slices.Equal(a.Shape(), want.Shape()) {
		return fmt.Errorf("got %v, %s; want %d shards of %v, %s", a, a.PRNGImpl(), len(boxes), want, want.PRNGImpl())
	}
	return nil
}
