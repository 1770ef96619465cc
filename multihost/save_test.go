package multihost_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/handler"
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
	a, err := array.AllocSharded(what, multihost.Together{Group: g}.Process())
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

// noted is a handler of pytrees that adds a file.
type noted struct{ handler.PyTreeHandler }

func (h noted) Save(ctx context.Context, v any, o handler.SaveOptions) (handler.WriteFunc, error) {
	write, err := h.PyTreeHandler.Save(ctx, v, o)
	return func(ctx context.Context, dir *handler.WriteDir) error {
		if rank, size := o.Operation.Processes(); rank == size-1 {
			if err := dir.WriteFile(ctx, "note.txt", []byte("note")); err != nil {
				return err
			}
		}
		return write(ctx, dir)
	}, err
}

// Each process writes its own state, and rank 0 alone what all have.
func TestCheckpointablesTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ckpt")
	var r handler.Registry
	r.Bind("model", noted{})
	iterators := make([]iterator, 3)
	for rank, err := range together(3, func(g *coord.Group) error {
		iterators[g.Rank()] = iterator(fmt.Sprintf(`{"at": %d}`, g.Rank()))
		items := map[string]any{
			"model":   map[string]any{"w": count(30)},
			"dataset": handler.DatasetIteratorOf(&iterators[g.Rank()], g.Rank(), g.Size()),
			"config":  map[string]any{"rate": 0.5},
		}
		return orbax.SaveCheckpointables(t.Context(), path, items, multihost.Together{Group: g}, orbax.Handlers(&r), orbax.Metrics(map[string]any{"loss": g.Rank()}))
	}) {
		if err != nil {
			t.Fatalf("process %d: %v", rank, err)
		}
	}
	for rank := range iterators {
		iterators[rank] = ""
		targets := map[string]any{"dataset": handler.DatasetIteratorOf(&iterators[rank], rank, 3)}
		if _, err := orbax.LoadCheckpointables(t.Context(), path, targets, orbax.Handlers(&r)); err != nil || string(iterators[rank]) != fmt.Sprintf(`{"at": %d}`, rank) {
			t.Errorf("process %d: %s, %v", rank, iterators[rank], err)
		}
	}
	if err := orbax.Verify(t.Context(), path, orbax.Handlers(&r)); err != nil {
		t.Error(err)
	}
	if note, err := os.ReadFile(filepath.Join(path, "model", "note.txt")); err != nil || string(note) != "note" {
		t.Errorf("%q, %v", note, err)
	}
}

type iterator string

func (i *iterator) State() ([]byte, error)      { return []byte(*i), nil }
func (i *iterator) SetState(state []byte) error { *i = iterator(state); return nil }

// A process saves the position of its own iterator, and no other.
func TestOthersIteratorTogether(t *testing.T) {
	var it iterator = "1"
	for name, other := range map[string]func(g *coord.Group) any{
		"of one process":     func(*coord.Group) any { return handler.DatasetIterator(&it) },
		"of rank 0 in all":   func(g *coord.Group) any { return handler.DatasetIteratorOf(&it, 0, g.Size()) },
		"of another number":  func(g *coord.Group) any { return handler.DatasetIteratorOf(&it, g.Rank(), g.Size()+1) },
		"not wrapped at all": func(*coord.Group) any { return &it },
	} {
		path := filepath.Join(t.TempDir(), "ckpt")
		for rank, err := range together(2, func(g *coord.Group) error {
			return orbax.SaveCheckpointables(t.Context(), path, map[string]any{"data": other(g)}, multihost.Together{Group: g})
		}) {
			if !errors.Is(err, orbax.ErrStructure) && !errors.Is(err, orbax.ErrLeafType) || !strings.Contains(err.Error(), "handler.DatasetIteratorOf") || !strings.Contains(err.Error(), "in phase plan") {
				t.Errorf("%s: process %d: %v", name, rank, err)
			}
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the checkpoint is there: %v", name, err)
		}
	}
}

// Process is the part of the processes that save and load together.
func TestProcess(t *testing.T) {
	owner := func(device int) int { return 1 - device%2 }
	on := sharding.Named(mesh(1, 4), sharding.PartitionSpec{{"y"}})
	for rank, err := range together(2, func(g *coord.Group) error {
		in := multihost.Together{Group: g, Owner: owner}
		p := in.Process()
		if p.Rank != g.Rank() || p.Size != 2 {
			return fmt.Errorf("process %d of %d", p.Rank, p.Size)
		}
		owners, err := p.Owners(on)
		if fmt.Sprint(owners) != "[1 0 1 0]" {
			err = fmt.Errorf("the owners are %v, %w", owners, err)
		}
		return err
	}) {
		if err != nil {
			t.Errorf("process %d: %v", rank, err)
		}
	}
	boxes, err := multihost.Together{}.Process().Boxes(on, []int{8})
	if err != nil || len(boxes) != 4 {
		t.Errorf("a process alone has the boxes %v, %v", boxes, err)
	}
	// The ids of two JAX processes on CPUs: the third has nothing, also of a replicated array.
	m := sharding.Mesh{AxisNames: []string{"d"}, Shape: []int{4}, DeviceIDs: []int{0, 1, 2048, 2049}}
	a, err := array.AllocSharded(array.ShapeDtypeStruct{Shape: []int{8}, DType: array.Float32, Sharding: sharding.Named(m, nil)}, sharding.Process{Rank: 2, Size: 3})
	if err != nil || len(a.Shards()) != 0 {
		t.Errorf("a process without devices has %v, %v", a, err)
	}
}
