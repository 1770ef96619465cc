package training_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/training"
)

// saveFunc is a save policy.
type saveFunc func(training.Step, []training.Step, training.DecisionContext) (bool, error)

func (f saveFunc) ShouldSave(step training.Step, before []training.Step, c training.DecisionContext) (bool, error) {
	return f(step, before, c)
}

// What fails in one process fails in all, with an error of the same class that names the
// process, and the next call works.
func TestGroupFailures(t *testing.T) {
	t.Parallel()
	errPolicy := errors.New("no such day")
	for name, c := range map[string]struct {
		// do is called in all processes. fails is true in one of them, the culprit.
		do   func(ctx context.Context, c *training.Checkpointer, g *coord.Group, fails bool) error
		is   error  // what all errors match
		says string // in all errors, besides the rank
		rank int    // of the failure, if it is not the culprit's
	}{
		"a leaf": {func(ctx context.Context, c *training.Checkpointer, g *coord.Group, fails bool) error {
			state := map[string]any{"a": []int{1}}
			if fails {
				state["a"] = make(chan int)
			}
			_, err := c.Save(ctx, 9, state)
			return err
		}, orbax.ErrLeafType, "unsupported leaf type", -1},
		"different leaves": {func(ctx context.Context, c *training.Checkpointer, g *coord.Group, fails bool) error {
			_, err := c.Save(ctx, 9, map[string]any{fmt.Sprint(fails): []int{1}})
			return err
		}, nil, "do not save the same", -1},
		"canceled": {func(ctx context.Context, c *training.Checkpointer, g *coord.Group, fails bool) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			if fails {
				cancel()
			}
			_, err := c.Save(ctx, 9, partOf(9, g))
			return err
		}, nil, "context canceled", -1},
		"exists": {func(ctx context.Context, c *training.Checkpointer, g *coord.Group, _ bool) error {
			_, err := c.SaveAsync(ctx, 2, partOf(2, g))
			return err
		}, fs.ErrExist, "Overwrite", 0},
		"older": {func(ctx context.Context, c *training.Checkpointer, g *coord.Group, _ bool) error {
			_, err := c.Save(ctx, 1, partOf(1, g))
			return err
		}, training.ErrOlderStep, "Force", 0},
		"the policy": {func(ctx context.Context, c *training.Checkpointer, g *coord.Group, _ bool) error {
			_, err := c.ShouldSave(1000)
			return err
		}, nil, errPolicy.Error(), 0},
		"another step": {func(ctx context.Context, c *training.Checkpointer, g *coord.Group, fails bool) error {
			step := 9
			if fails {
				step = 10
			}
			_, err := c.Save(ctx, step, partOf(9, g))
			return err
		}, nil, "it is at phase decide of save step", -2},
		"another method": {func(ctx context.Context, c *training.Checkpointer, g *coord.Group, fails bool) error {
			if fails {
				return c.Reload(ctx)
			}
			return c.Wait(ctx)
		}, nil, "it is at phase", -2},
		"In": {func(ctx context.Context, c *training.Checkpointer, g *coord.Group, fails bool) error {
			var in orbax.SaveOption
			if fails {
				in = orbax.In(storage.Local())
			}
			_, err := c.Save(ctx, 9, partOf(9, g), in)
			return err
		}, orbax.ErrUsage, "Options.Store", -1},
		"Together": {func(ctx context.Context, c *training.Checkpointer, g *coord.Group, fails bool) error {
			_, err := c.Save(ctx, 9, partOf(9, g), multihost.Together{Group: g})
			return err
		}, orbax.ErrUsage, "Options.Together", -2}, // all refuse it
		"no such step": {func(ctx context.Context, c *training.Checkpointer, g *coord.Group, _ bool) error {
			_, err := c.Load(ctx, 7)
			return err
		}, orbax.ErrNotExist, "the only one is 2", -2},
		"a target": {func(ctx context.Context, c *training.Checkpointer, g *coord.Group, fails bool) error {
			if fails {
				return c.LoadInto(ctx, 2, &struct{ Other int }{})
			}
			return c.LoadInto(ctx, 2, partOf(-1, g))
		}, orbax.ErrStructure, "", -1},
		"a target of Resume": {func(ctx context.Context, c *training.Checkpointer, g *coord.Group, fails bool) error {
			var target any = partOf(-1, g)
			if fails {
				target = &struct{ Other int }{}
			}
			_, err := c.Resume(ctx, target)
			return err
		}, orbax.ErrStructure, "", -1},
		"a link": {func(ctx context.Context, c *training.Checkpointer, g *coord.Group, fails bool) error {
			var in orbax.LoadOption
			if fails {
				in = orbax.In(storage.Local())
			}
			_, err := c.Metadata(ctx, training.LatestStep, in)
			return err
		}, orbax.ErrUsage, "ReadOptions.Store", -1},
		"delete": {func(ctx context.Context, c *training.Checkpointer, g *coord.Group, fails bool) error {
			return c.Delete(ctx, 7)
		}, orbax.ErrNotExist, "does not exist", 0},
	} {
		for _, culprit := range []int{0, 2} {
			t.Run(fmt.Sprint(name, culprit), func(t *testing.T) {
				t.Parallel()
				root := filepath.Join(t.TempDir(), "run")
				mustInGroup(t, 3, func(ctx context.Context, g *coord.Group) (err error) {
					ckpts, err := openGroup(ctx, root, g, training.Options{SaveDecision: saveFunc(func(step training.Step, _ []training.Step, _ training.DecisionContext) (bool, error) {
						if step.Step == 1000 {
							return false, errPolicy
						}
						return true, nil
					})})
					if err != nil {
						return err
					}
					defer func() { err = errors.Join(err, ckpts.Close()) }()
					if _, err := ckpts.Save(ctx, 2, partOf(2, g)); err != nil {
						return err
					}
					start := time.Now()
					err = c.do(ctx, ckpts, g, g.Rank() == culprit)
					if err == nil {
						return errors.New("it does not fail")
					}
					rank := fmt.Sprint("process ", culprit)
					switch c.rank {
					case 0:
						rank = "process 0"
					case -2:
						rank = ""
					}
					if g.Rank() == culprit && c.rank == -1 {
						rank = "" // it is its own error
					}
					if c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), rank) || !strings.Contains(err.Error(), c.says) {
						return fmt.Errorf("want one that names %q, says %q and matches %w: %w", rank, c.says, c.is, err)
					}
					if took := time.Since(start); took > 20*time.Second {
						return fmt.Errorf("after %v: %w", took, err)
					}
					if _, err := ckpts.Save(ctx, 20, partOf(20, g)); err != nil {
						return fmt.Errorf("the next save: %w", err)
					}
					return nil
				})
				wantRun(t, root, 2, 20)
			})
		}
	}
}

// A process that is lost makes everything fail in the others, soon.
func TestGroupLost(t *testing.T) {
	t.Parallel()
	for _, culprit := range []int{0, 2} {
		root := filepath.Join(t.TempDir(), fmt.Sprint("run", culprit))
		var begun sync.WaitGroup // all are in the save before one is lost
		begun.Add(3)
		for rank, err := range inGroup(t, 3, func(ctx context.Context, g *coord.Group) error {
			c, err := openGroup(ctx, root, g, training.Options{})
			if err != nil {
				return err
			}
			if _, err := c.Save(ctx, 1, partOf(1, g)); err != nil {
				return err
			}
			h := newHeldPart()
			h.file = fmt.Sprint("half", g.Rank())
			resp, err := c.SaveCheckpointablesAsync(ctx, 2, map[string]any{"state": partOf(2, g), "held": h})
			if err != nil {
				return err
			}
			<-h.started
			begun.Done()
			if g.Rank() == culprit {
				begun.Wait()
				g.Close()
			}
			h.end <- nil
			if saved, err := resp.Result(ctx); saved || err == nil {
				return fmt.Errorf("it is saved: %t, %v", saved, err)
			}
			_, err = c.Save(ctx, 3, partOf(3, g))
			cerr := c.Close()
			if err == nil || cerr == nil {
				return fmt.Errorf("the next save: %v; Close: %v", err, cerr)
			}
			return errors.Join(err, cerr)
		}) {
			if lost := new(coord.LostError); !errors.As(err, &lost) || lost.Rank != culprit {
				t.Errorf("process %d: %v", rank, err)
			}
		}
		for _, dir := range []string{"2", "3"} {
			if _, err := os.Stat(filepath.Join(root, dir)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("step %s: %v", dir, err)
			}
		}
	}
}

// The failure of a save in the background is the same in all processes. The next save
// reports it, and is made.
func TestGroupBackgroundFailure(t *testing.T) {
	t.Parallel()
	for _, cancel := range []bool{false, true} {
		root := filepath.Join(t.TempDir(), "run")
		var begun sync.WaitGroup // a part that has not begun when another fails never begins
		begun.Add(3)
		mustInGroup(t, 3, func(ctx context.Context, g *coord.Group) (err error) {
			c, err := openGroup(ctx, root, g, training.Options{})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, c.Close()) }()
			h := newHeldPart()
			h.file = fmt.Sprint("half", g.Rank())
			if _, err := c.SaveCheckpointablesAsync(ctx, 2, map[string]any{"state": partOf(2, g), "held": h}); err != nil {
				return err
			}
			<-h.started
			begun.Done()
			begun.Wait()
			switch {
			case g.Rank() != 2:
				h.end <- nil
			case cancel:
				c.Cancel()
			default:
				h.end <- errors.New("the dataset is gone")
			}
			resp, err := c.SaveAsync(ctx, 3, partOf(3, g))
			earlier := new(training.EarlierError)
			switch isEarlier := errors.As(err, &earlier); {
			case cancel && g.Rank() == 2 && err == nil: // it has cancelled the save
			case !isEarlier || earlier.Step != 2 || g.Rank() != 2 && !strings.Contains(err.Error(), "process 2"):
				return fmt.Errorf("want the failure of step 2: %w", err)
			}
			_, err = resp.Result(ctx)
			return err
		})
		wantRun(t, root, 3)
		os.RemoveAll(root)
	}
}

// Damage that only one process reads is known to all: they resume from the step before,
// and save the damaged one again.
func TestGroupDamage(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	save := func(ctx context.Context, c *training.Checkpointer, g *coord.Group, steps ...int) error {
		for _, step := range steps {
			if _, err := c.Save(ctx, step, partOf(step, g)); err != nil {
				return err
			}
		}
		return nil
	}
	mustInGroup(t, 4, func(ctx context.Context, g *coord.Group) error {
		c, err := openGroup(ctx, root, g, training.Options{Sharing: training.Sharing{Off: true}})
		if err == nil {
			err = errors.Join(save(ctx, c, g, 1, 2, 3), c.Close())
		}
		return err
	})
	for step, process := range map[int]string{2: "3", 3: "1"} {
		dir := filepath.Join(root, fmt.Sprint(step), "state", "ocdbt.process_"+process, "d")
		files, err := os.ReadDir(dir)
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		name := filepath.Join(dir, files[0].Name())
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 1
		if err := os.WriteFile(name, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	mustInGroup(t, 4, func(ctx context.Context, g *coord.Group) (err error) {
		c, err := openGroup(ctx, root, g, training.Options{})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		if err := c.LoadInto(ctx, 3, partOf(-1, g)); !errors.Is(err, orbax.ErrCorrupt) {
			return fmt.Errorf("step 3: %w", err)
		}
		state := partOf(-1, g)
		if step, err := c.Resume(ctx, state); err != nil || step != 1 {
			return fmt.Errorf("resumed from %d: %w", step, err)
		}
		if err := state.is(1, g); err != nil {
			return err
		}
		for _, step := range c.Checkpoints() {
			if damaged := step.Step > 1; damaged != errors.Is(step.Err, orbax.ErrCorrupt) {
				return fmt.Errorf("step %d: %v", step.Step, step.Err)
			}
		}
		return save(ctx, c, g, 2, 3)
	})
	wantRun(t, root, 1, 2, 3)
}

// Only the process with rank 0 lists the root, asks the policies and removes steps.
func TestGroupLeader(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	const n = 3
	var listed, asked, removed [n]int
	mustInGroup(t, n, func(ctx context.Context, g *coord.Group) (err error) {
		r := g.Rank()
		h := hooks{edit: func(string) { removed[r]++ }, listed: func(dir string) {
			if dir == root {
				listed[r]++
			}
		}}
		c, err := openGroup(ctx, root, g, training.Options{Store: h.store(), Preservation: training.LatestN{N: 1}, CustomMetadata: map[string]any{"a": 1},
			SaveDecision: saveFunc(func(step training.Step, _ []training.Step, _ training.DecisionContext) (bool, error) {
				asked[r]++
				return step.Step%2 == 0, nil
			})})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		for step := range 6 {
			want, err := c.ShouldSave(step)
			saved, serr := c.Save(ctx, step, partOf(step, g), orbax.Metrics(map[string]any{"loss": -step}))
			if err := errors.Join(err, serr); err != nil || want != saved || want != (step%2 == 0) {
				return fmt.Errorf("step %d: %t, %t, %w", step, want, saved, err)
			}
		}
		if err := errors.Join(c.Reload(ctx), c.LoadInto(ctx, training.LatestStep, partOf(-1, g))); err != nil {
			return err
		}
		var gone bool
		if err := c.Delete(ctx, 7, orbax.MissingOK(), orbax.Deleted(&gone)); err != nil || gone {
			return fmt.Errorf("deleted what is not there: %t, %w", gone, err)
		}
		at, _ := c.Latest()
		if m, ok := at.Metrics.(map[string]any); at.Step != 4 || !ok || m["loss"] != -4 {
			return fmt.Errorf("the latest is %v", at)
		}
		if m, err := c.Metadata(ctx, training.LatestStep); err != nil || m.Step != 4 || !m.Time.Equal(at.Time) {
			return fmt.Errorf("the metadata of %v, %w", m, err)
		}
		if m, err := c.RootMetadata(ctx); err != nil || m.Custom["a"] != 1 {
			return fmt.Errorf("the metadata of the root: %v, %w", m, err)
		}
		if err := c.Delete(ctx, 4, orbax.Deleted(&gone)); err != nil || !gone {
			return fmt.Errorf("deleted: %t, %w", gone, err)
		}
		if _, ok := c.Latest(); ok {
			return errors.New("a deleted step is in the list")
		}
		return nil
	})
	if slices.Max(listed[1:])+slices.Max(asked[1:])+slices.Max(removed[1:]) > 0 || listed[0] == 0 || asked[0] == 0 || removed[0] == 0 {
		t.Errorf("listed %v, asked %v, removed %v", listed, asked, removed)
	}
}

// A notice to one process makes all of them save the same step and end.
func TestGroupPreempted(t *testing.T) {
	t.Parallel()
	for _, rank := range []int{0, 2} {
		root := filepath.Join(t.TempDir(), fmt.Sprint("run", rank))
		const n = 3
		var last [n]int
		mustInGroup(t, n, func(ctx context.Context, g *coord.Group) (err error) {
			notice := make(chan struct{})
			c, err := openGroup(ctx, root, g, training.Options{SaveDecision: training.PreemptionCheckpointingPolicy{}, Preempted: notice})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, c.Close()) }()
			for step, ended := 0, false; !ended; step++ {
				if g.Rank() == rank && step == 7 {
					close(notice)
				}
				if _, err := c.SaveAsync(ctx, step, partOf(step, g)); err != nil {
					return err
				}
				ended = c.Preempted()
				last[g.Rank()] = step
			}
			return nil
		})
		if last != [n]int{7, 7, 7} {
			t.Errorf("they end after %v", last)
		}
		wantRun(t, root, 7)
	}
}

// A policy that panics in one process is an error in the others.
func TestGroupPanic(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	mustInGroup(t, 3, func(ctx context.Context, g *coord.Group) (err error) {
		c, err := openGroup(ctx, root, g, training.Options{SaveDecision: saveFunc(func(step training.Step, _ []training.Step, _ training.DecisionContext) (bool, error) {
			if step.Step == 1 {
				panic("a policy")
			}
			return true, nil
		})})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		panicked := func() (panicked any) {
			defer func() { panicked = recover() }()
			_, err = c.Save(ctx, 1, partOf(1, g))
			return nil
		}()
		switch {
		case g.Rank() == 0 && panicked != "a policy":
			return fmt.Errorf("it panics with %v", panicked)
		case g.Rank() > 0 && (panicked != nil || err == nil || !strings.Contains(err.Error(), "process 0")):
			return fmt.Errorf("panic %v, %w", panicked, err)
		}
		_, err = c.Save(ctx, 2, partOf(2, g))
		return err
	})
	wantRun(t, root, 2)
}

// position is the position of a process in its part of a dataset.
type position struct{ at int }

func (p *position) State() ([]byte, error) { return fmt.Append(nil, p.at), nil }

func (p *position) SetState(state []byte) error {
	_, err := fmt.Sscan(string(state), &p.at)
	return err
}

// Each process has its own position in the data, in a file as grain has it.
func TestGroupDatasets(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	const n = 4
	items := func(step int, g *coord.Group, p *position) map[string]any {
		return map[string]any{"model": partOf(step, g), "data": handler.DatasetIteratorOf(p, g.Rank(), g.Size()), "config": handler.JSON{Value: "all the same"}}
	}
	mustInGroup(t, n, func(ctx context.Context, g *coord.Group) (err error) {
		c, err := openGroup(ctx, root, g, training.Options{})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		for step := range 3 {
			if _, err := c.SaveCheckpointablesAsync(ctx, step, items(step, g, &position{100*step + g.Rank()})); err != nil {
				return err
			}
		}
		return nil
	})
	files, err := os.ReadDir(filepath.Join(root, "2", "data"))
	if err != nil || len(files) != n || files[3].Name() != "process_3-of-4.json" {
		t.Errorf("the positions are in %v, %v", files, err)
	}
	mustInGroup(t, n, func(ctx context.Context, g *coord.Group) (err error) {
		c, err := openGroup(ctx, root, g, training.Options{})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		p, model := new(position), partOf(-1, g)
		step, err := c.ResumeCheckpointables(ctx, map[string]any{"model": model, "data": handler.DatasetIteratorOf(p, g.Rank(), n)})
		if err != nil || step != 2 || p.at != 200+g.Rank() {
			return fmt.Errorf("resumed %d at %d, %w", step, p.at, err)
		}
		return model.is(2, g)
	})
	// Another number of processes: a resume must not take it for a new run, a load says that
	// there is no position of these processes.
	mustInGroup(t, 2, func(ctx context.Context, g *coord.Group) (err error) {
		c, err := openGroup(ctx, root, g, training.Options{})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		data := map[string]any{"data": handler.DatasetIteratorOf(new(position), g.Rank(), 2)}
		_, err = c.ResumeCheckpointables(ctx, data)
		if !errors.Is(err, orbax.ErrStructure) || errors.Is(err, orbax.ErrNotExist) || !strings.HasPrefix(err.Error(), "training: resume step 2 of "+root+": process 0 in phase read: ") {
			return fmt.Errorf("the resume: %w", err)
		}
		_, err = c.LoadCheckpointables(ctx, 2, data)
		if !errors.Is(err, orbax.ErrNotExist) || !strings.HasPrefix(err.Error(), "training: load step 2 of "+root+": process 0 in phase ") {
			return fmt.Errorf("the load: %w", err)
		}
		return nil
	})
	if err := orbax.Verify(t.Context(), filepath.Join(root, "2")); err != nil {
		t.Error(err)
	}
}
