package partial_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/sharding"
)

// inProcesses calls f in each of n processes, which are goroutines, and returns their errors.
func inProcesses(t *testing.T, n int, f func(ctx context.Context, g *coord.Group) error) []error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	errs := make([]error, n)
	var all sync.WaitGroup
	for rank, g := range coord.InProcess(n) {
		all.Go(func() {
			errs[rank] = f(ctx, g)
			g.Close()
		})
	}
	all.Wait()
	return errs
}

// shardOf returns the part that a process holds of an array whose rows have their numbers
// plus add.
func shardOf(g *coord.Group, add int32) *array.Sharded {
	on := sharding.Named(sharding.Mesh{Shape: []int{4}, AxisNames: []string{"x"}, DeviceIDs: []int{0, 1, 2, 3}}, sharding.PartitionSpec{{"x"}})
	a, err := array.AllocSharded(array.ShapeDtypeStruct{Shape: []int{8, 1000}, DType: array.Int32, Sharding: on},
		sharding.Process{Rank: g.Rank(), Size: g.Size(), Owner: func(device int) int { return device % g.Size() }})
	if err != nil {
		panic(err)
	}
	for _, s := range a.Shards() {
		values, _ := array.Values[int32](s.Array)
		for i := range values {
			values[i] = int32(s.Offset[0]+i/1000) + add
		}
	}
	return a
}

// Processes save the parts of a session together, and finalize it together.
func TestGroupFinalizes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ck")
	for rank, err := range inProcesses(t, 3, func(ctx context.Context, g *coord.Group) error {
		together := multihost.Together{Group: g, Owner: func(device int) int { return device % 3 }}
		resp, err := partial.SaveAsync(ctx, path, map[string]any{"a": map[string]any{"w": shardOf(g, 0)}, "step": 7}, together)
		if err != nil {
			return err
		}
		if err := partial.Save(ctx, path, map[string]any{"b": shardOf(g, 100), "name": "run"}, together); err != nil {
			return err
		}
		if err := resp.Result(ctx); err != nil {
			return err
		}
		err = partial.Save(ctx, path, map[string]any{"b": shardOf(g, 100)}, together)
		if !errors.Is(err, orbax.ErrKeyCollision) {
			return fmt.Errorf("a leaf again: %w", err)
		}
		return partial.Finalize(ctx, path, together)
	}) {
		if err != nil {
			t.Fatalf("process %d: %v", rank, err)
		}
	}
	got, err := orbax.Load(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	tree := got.(map[string]any)
	for a, add := range map[any]int32{tree["a"].(map[string]any)["w"]: 0, tree["b"]: 100} {
		values, err := array.Values[int32](a.(*array.Array))
		if err != nil || len(values) != 8000 {
			t.Fatal(len(values), err)
		}
		for i, v := range values {
			if v != int32(i/1000)+add {
				t.Fatalf("element %d is %d", i, v)
			}
		}
	}
	if tree["step"] != 7 || tree["name"] != "run" {
		t.Error(tree)
	}
	if err := orbax.Verify(t.Context(), path); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path + ".partial_save"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the session: %v", err)
	}
}

// What process 0 cannot do is an error of the same class in all processes. Abort removes the
// session for all.
func TestGroupErrors(t *testing.T) {
	dir := t.TempDir()
	for rank, err := range inProcesses(t, 3, func(ctx context.Context, g *coord.Group) error {
		together := multihost.Together{Group: g}
		path := filepath.Join(dir, "ck")
		for name, c := range map[string]struct {
			err  error
			want error
		}{
			"finalize":       {partial.Finalize(ctx, path, together), orbax.ErrNotExist},
			"abort":          {partial.Abort(ctx, path, together), orbax.ErrNotExist},
			"a name":         {partial.Save(ctx, "/", map[string]any{"a": 1}, together), orbax.ErrReservedName},
			"finalize /":     {partial.Finalize(ctx, "/", together), orbax.ErrReservedName},
			"overwrite":      {partial.Save(ctx, path, map[string]any{"a": 1}, together, orbax.Overwrite()), orbax.ErrUsage},
			"different ones": {partial.Save(ctx, path, map[string]any{fmt.Sprint(g.Rank()): 1}, together), orbax.ErrStructure},
		} {
			if !errors.Is(c.err, c.want) {
				return fmt.Errorf("%s: %w", name, c.err)
			}
		}
		if err := partial.Save(ctx, path, map[string]any{"a": []int32{1}}, together); err != nil {
			return err
		}
		ended, cancel := context.WithCancel(ctx)
		if g.Rank() == 1 {
			cancel()
		}
		err := partial.Finalize(ended, path, together)
		cancel()
		if err == nil || g.Rank() != 1 && !strings.Contains(err.Error(), "process 1") {
			return fmt.Errorf("process 1 has given up, and Finalize returns %w", err)
		}
		return partial.Abort(ctx, path, together)
	}) {
		if err != nil {
			t.Errorf("process %d: %v", rank, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
