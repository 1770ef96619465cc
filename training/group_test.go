package training_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/training"
)

// inGroup calls f in each of n processes, which are goroutines, and returns their errors.
func inGroup(t *testing.T, n int, f func(ctx context.Context, g *coord.Group) error) []error {
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

// mustInGroup demands that no process fails.
func mustInGroup(t *testing.T, n int, f func(ctx context.Context, g *coord.Group) error) {
	t.Helper()
	for rank, err := range inGroup(t, n, f) {
		if err != nil {
			t.Errorf("process %d: %v", rank, err)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// openGroup makes the Checkpointer of a process, which saves every step unless o says
// otherwise.
func openGroup(ctx context.Context, root string, g *coord.Group, o training.Options) (*training.Checkpointer, error) {
	if o.SaveDecision == nil {
		o.SaveDecision = training.FixedIntervalPolicy{Interval: 1}
	}
	o.Together = multihost.Together{Group: g, Owner: ownerIn(g.Size())}
	return training.New(ctx, root, o)
}

// ownerIn gives the devices to the processes of a group of any size.
func ownerIn(size int) func(int) int { return func(device int) int { return device % size } }

// partState is the part of a state that a process holds. Every number shows its step,
// except those of Frozen.
type partState struct {
	W      *array.Sharded `orbax:"w"`
	Frozen *array.Sharded `orbax:"frozen"`
	B      []float32      `orbax:"b"`
	Step   int            `orbax:"step"`
}

// partOf returns the part of the state of a step that a process of a group holds.
func partOf(step int, g *coord.Group) *partState {
	rank, size := 0, 1
	if g != nil {
		rank, size = g.Rank(), g.Size()
	}
	ids := make([]int, 8)
	for i := range ids {
		ids[i] = i
	}
	mesh := sharding.Mesh{Shape: []int{4, 2}, AxisNames: []string{"x", "y"}, DeviceIDs: ids}
	s := &partState{Step: step, B: make([]float32, 5000)}
	for i := range s.B {
		s.B[i] = float32(step * i)
	}
	for _, a := range []struct {
		to   **array.Sharded
		spec sharding.PartitionSpec
		rows int
		add  int
	}{{&s.W, sharding.PartitionSpec{{"x"}, {"y"}}, 32, step}, {&s.Frozen, sharding.PartitionSpec{{"x"}}, 128, 0}} {
		what := array.ShapeDtypeStruct{Shape: []int{a.rows, 512}, DType: array.Int32, Sharding: sharding.Named(mesh, a.spec)}
		made, err := array.AllocSharded(what, sharding.Process{Rank: rank, Size: size, Owner: ownerIn(size)})
		if err != nil {
			panic(err)
		}
		for _, shard := range made.Shards() {
			numbers, _ := array.Values[int32](shard.Array) // the memory of the shard
			columns := shard.Array.Shape()[1]
			for i := range numbers {
				numbers[i] = int32((shard.Offset[0]+i/columns)*512 + shard.Offset[1] + i%columns + a.add)
			}
		}
		*a.to = made
	}
	return s
}

// is returns an error unless s is the part of a step.
func (s *partState) is(step int, g *coord.Group) error {
	want := partOf(step, g)
	if s.Step != step || !slices.Equal(s.B, want.B) {
		return fmt.Errorf("not the state of step %d: that of %d", step, s.Step)
	}
	for _, pair := range [][2]*array.Sharded{{s.W, want.W}, {s.Frozen, want.Frozen}} {
		for i, shard := range pair[1].Shards() {
			if !pair[0].Shards()[i].Array.Equal(shard.Array) {
				return fmt.Errorf("shard %v of step %d differs", shard.Offset, step)
			}
		}
	}
	return nil
}

// wantRun demands that all steps of a root hold their states, as a single process reads
// them, and that nothing unfinished is there.
func wantRun(t *testing.T, root string, steps ...int) {
	t.Helper()
	c := openRun(t, root, training.Options{})
	if got := listed(c); !slices.Equal(got, steps) {
		t.Errorf("the root has the steps %v, want %v", got, steps)
	}
	for _, step := range steps {
		s := partOf(-1, nil)
		err := c.LoadInto(t.Context(), step, s)
		if err == nil {
			err = s.is(step, nil)
		}
		if err := errors.Join(err, orbax.Verify(t.Context(), c.Path(step))); err != nil {
			t.Errorf("step %d: %v", step, err)
		}
	}
	if left := leftovers(t, root); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

// Processes save a run together, and other groups of any size continue it.
func TestGroup(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	first := 0
	for _, n := range []int{4, 1, 3, 20} {
		mustInGroup(t, n, func(ctx context.Context, g *coord.Group) (err error) {
			c, err := openGroup(ctx, root, g, training.Options{Preservation: training.LatestN{N: 2}, CustomMetadata: map[string]any{"run": 7}})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, c.Close()) }()
			state := partOf(-1, g)
			switch step, err := c.Resume(ctx, state); {
			case first == 0:
				if !errors.Is(err, orbax.ErrNotExist) {
					return fmt.Errorf("a new run: %d, %v", step, err)
				}
			case err != nil || step != first:
				return fmt.Errorf("resumed %d, %w", step, err)
			default:
				if err := state.is(step, g); err != nil {
					return err
				}
			}
			for step := first + 1; step <= first+3; step++ {
				if saved, err := c.Save(ctx, step, partOf(step, g)); err != nil || !saved {
					return fmt.Errorf("step %d: %t, %w", step, saved, err)
				}
				if at, ok := c.Latest(); !ok || at.Step != step || at.Path != c.Path(step) {
					return fmt.Errorf("the latest is %v after step %d", at, step)
				}
			}
			if err := c.Wait(ctx); err != nil {
				return err
			}
			if got := listed(c); !slices.Equal(got, []int{first + 2, first + 3}) {
				return fmt.Errorf("steps %v", got)
			}
			return nil
		})
		first += 3
		wantRun(t, root, first-1, first)
	}
}

// Background saves of all processes are of the same steps, whenever the policy is asked.
func TestGroupAsync(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	const n = 4
	var saved [n][]int
	mustInGroup(t, n, func(ctx context.Context, g *coord.Group) (err error) {
		c, err := openGroup(ctx, root, g, training.Options{SaveDecision: training.ContinuousCheckpointingPolicy{}, Preservation: training.LatestN{N: 3}})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		// The policy saves when the last save has ended, so a slow computer saves less often.
		for step, last := 0, false; !last; step++ {
			var options []orbax.SaveOption
			if last = step >= 29 && len(saved[g.Rank()]) >= 2; last {
				options = append(options, training.Force())
			}
			resp, err := c.SaveAsync(ctx, step, partOf(step, g), options...)
			if err != nil {
				return err
			}
			if !resp.Skipped() {
				saved[g.Rank()] = append(saved[g.Rank()], step)
			}
			time.Sleep(time.Duration(g.Rank()) * time.Millisecond)
		}
		return nil
	})
	for rank := range n {
		if !slices.Equal(saved[rank], saved[0]) {
			t.Errorf("process %d has saved %v, process 0 %v", rank, saved[rank], saved[0])
		}
	}
	wantRun(t, root, saved[0][len(saved[0])-3:]...)
}

// Options.Together takes no other option.
func TestNotTogether(t *testing.T) {
	for _, o := range []orbax.CommonOption{orbax.Budget(1 << 20), orbax.Report(new(orbax.Stats))} {
		_, err := training.New(t.Context(), filepath.Join(t.TempDir(), "run"), training.Options{Together: o})
		if !errors.Is(err, orbax.ErrUsage) || !strings.Contains(err.Error(), "Options.Together") {
			t.Errorf("%T: %v; want that it is refused", o, err)
		}
	}
}
