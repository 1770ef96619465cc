package interop

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/training"
)

// TestJobRun has a job, one process of Go, and several processes of Go together continue
// each other's run.
func TestJobRun(t *testing.T) {
	eachJob(t, func(t *testing.T, n int) {
		for _, api := range []string{"v1", "v0"} {
			t.Run(api, func(t *testing.T) {
				r := &jobRun{t, n, api, filepath.Join(t.TempDir(), "run")}
				r.job(r.save(1), r.save(2))
				r.golang(3)
				r.group(4, 3)
				turns := r.job(request{"act": "load"}, request{"act": "load", "step": 3}, r.save(6))
				for i, step := range []int{5, 3} {
					var loaded []*node
					for _, turn := range turns {
						loaded = append(loaded, turn.Results[i].Tree)
					}
					checkJobLoad(t, r.tree(step), loaded)
				}
				r.golang(7)
			})
		}
	})
}

// jobRun is a run that a job of n processes saves steps of.
type jobRun struct {
	t         *testing.T
	n         int
	api, root string
}

// jobTurn is what one process of a job returns of its turn.
type jobTurn struct{ Results []struct{ Tree *node } }

// job gives the run to the job.
func (r *jobRun) job(do ...request) []jobTurn {
	r.t.Helper()
	turns, err := callJob[jobTurn](r.t.Context(), r.n, "run_turn", request{"root": r.root, "api": r.api, "do": do})
	if err != nil {
		r.t.Fatal(err)
	}
	return turns
}

// tree returns the state of a step. A part of it is the same in all steps, and large
// enough to be shared.
func (r *jobRun) tree(step int) *node {
	frozen := make([]float32, 1<<18)
	for i := range frozen {
		frozen[i] = float32(i)
	}
	f := arrayNode("jax", array.Of(frozen, 512, 512))
	f.Sharding = &mesh{Mesh: []int{2 * r.n}, Axes: []string{"x"}, Spec: []any{"x"}, Devices: jobDevices(r.n)}
	return drawn(step, r.n, func(g *treeGen) *node {
		return dict("frozen", f, "w", g.sharded(), "b", g.sharded(), "step", integer(int64(step)))
	})
}

func (r *jobRun) save(step int) request {
	return request{"act": "save", "step": step, "tree": r.tree(step), "metrics": map[string]any{"loss": step}, "force": true}
}

// golang has one process of Go resume the step before, and save a step.
func (r *jobRun) golang(step int) {
	ctx, t := r.t.Context(), r.t
	t.Helper()
	c, err := training.New(ctx, r.root, training.Options{})
	must(t, err)
	resumed := map[string]any{}
	if got, err := c.Resume(ctx, &resumed); err != nil || got != step-1 {
		t.Fatalf("resumed step %d, %v", got, err)
	}
	mustEqual(t, "Go resumes", r.tree(step-1), mustNode(t, resumed))
	next, err := r.tree(step).toGo()
	must(t, err)
	if _, err := c.Save(ctx, step, next); err != nil {
		t.Fatal(err)
	}
	must(t, c.Close())
}

// group has processes of Go together resume the step before, over another mesh, and save
// two steps.
func (r *jobRun) group(step, processes int) {
	ctx, t := r.t.Context(), r.t
	t.Helper()
	var whole [3]any
	for i := range whole {
		var err error
		whole[i], err = r.tree(step - 1 + i).toGo()
		must(t, err)
	}
	together(t, processes, func(g *coord.Group) error {
		owner := func(device int) int { return deviceOwner(device) % processes }
		process := sharding.Process{Rank: g.Rank(), Size: processes, Owner: owner}
		c, err := training.New(ctx, r.root, training.Options{Together: multihost.Together{Group: g, Owner: owner}})
		if err != nil {
			return err
		}
		on, rows := map[string]*sharding.Sharding{}, sharding.Mesh{Shape: []int{processes}, AxisNames: []string{"rows"}}
		for i := range processes {
			rows.DeviceIDs = append(rows.DeviceIDs, deviceIDs*i)
		}
		target := mapValues(whole[0], func(path string, leaf any) any {
			a, ok := leaf.(*array.Array)
			if !ok {
				return leaf
			}
			on[path] = sharding.Named(rows, sharding.PartitionSpec{{"rows"}})
			what := array.Abstract(a)
			what.Sharding = on[path]
			return what
		})
		if got, err := c.Resume(ctx, &target); err != nil || got != step-1 {
			return fmt.Errorf("resumed step %d: %w", got, err)
		}
		if err := sameShards(whole[0], target, on, process); err != nil {
			return err
		}
		for i, state := range whole[1:] {
			part, err := partOf(state, process)
			if err != nil {
				return err
			}
			if _, err := c.Save(ctx, step+i, part); err != nil {
				return err
			}
		}
		return c.Close()
	})
	if !shareFiles(t, filepath.Join(r.root, fmt.Sprint(step)), filepath.Join(r.root, fmt.Sprint(step+1))) {
		t.Errorf("step %d shares nothing with step %d", step+1, step)
	}
}
