package multihost_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/sharding"
)

// together calls f in each of n processes, which are goroutines, and returns their errors.
func together(n int, f func(g *coord.Group) error) []error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for rank, g := range coord.InProcess(n) {
		all.Go(func() {
			errs[rank] = errors.Join(f(g), g.Close())
		})
	}
	all.Wait()
	return errs
}

// mesh returns a mesh of x times y devices.
func mesh(x, y int) sharding.Mesh {
	ids := make([]int, x*y)
	for i := range ids {
		ids[i] = i
	}
	return sharding.Mesh{Shape: []int{x, y}, AxisNames: []string{"x", "y"}, DeviceIDs: ids}
}

// part returns the shards of a whole array that a process holds.
func part(t testing.TB, whole *array.Array, on *sharding.Sharding, g *coord.Group) *array.Sharded {
	t.Helper()
	what := array.ShapeDtypeStruct{Shape: whole.Shape(), DType: whole.DType(), Sharding: on}
	a, err := array.AllocSharded(what, sharding.Process{Rank: g.Rank(), Size: g.Size()})
	if err != nil {
		t.Error(err)
		return nil
	}
	for _, s := range a.Shards() {
		if err := whole.ReadRegion(context.Background(), s.Array.Bytes(), s.Offset, s.Array.Shape()); err != nil {
			t.Error(err)
		}
	}
	return a
}

// count returns an array of the given shape with the elements 0, 1, 2 and so on.
func count(shape ...int) *array.Array {
	n, _ := array.NumElements(shape)
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(i)
	}
	return array.Of(values, shape...)
}

func TestSaveTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ckpt")
	w, b, odd := count(64, 48), count(48), count(7, 5)
	state := func(g *coord.Group) map[string]any {
		m := mesh(2, 4)
		return map[string]any{
			"w":    part(t, w, sharding.Named(m, sharding.PartitionSpec{{"x"}, {"y"}}), g),
			"half": part(t, w, sharding.Named(m, sharding.PartitionSpec{{"y"}}), g),
			"all":  part(t, w, sharding.Named(m, nil), g),
			"odd":  part(t, odd, sharding.Named(m, sharding.PartitionSpec{{"x"}, {"y"}}), g),
			"b":    b, "step": 17, "name": "run", "none": nil,
		}
	}
	for i, err := range together(4, func(g *coord.Group) error {
		return orbax.Save(t.Context(), path, state(g), multihost.Together{Group: g})
	}) {
		if err != nil {
			t.Fatalf("process %d: %v", i, err)
		}
	}
	got, err := orbax.Load(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	tree := got.(map[string]any)
	for name, want := range map[string]*array.Array{"w": w, "half": w, "all": w, "odd": odd, "b": b} {
		if a, ok := tree[name].(*array.Array); !ok || !a.Equal(want) {
			t.Errorf("%s: %v", name, tree[name])
		}
	}
	if fmt.Sprint(tree["step"], " ", tree["name"], " ", tree["none"]) != "17 run <nil>" {
		t.Error(tree)
	}
	if err := orbax.Verify(t.Context(), path); err != nil {
		t.Error(err)
	}
	if err := orbax.Delete(t.Context(), path); err != nil {
		t.Error(err)
	}
}
