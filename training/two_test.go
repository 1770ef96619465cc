package training_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/training"
)

// children are what a child process does with a root.
var children = map[string]func(t *testing.T, root string){"twin": saveAllOnce}

// TestChild is the child process.
func TestChild(t *testing.T) {
	mode, root, ok := testenv.Child()
	if !ok {
		t.Skip("only for the tests with several processes")
	}
	children[mode](t, root)
}

// startChild starts a child process that does with a root what children say.
func startChild(t *testing.T, mode, root string) *orbaxtest.Process {
	t.Helper()
	return orbaxtest.StartChild(t, "TestChild", mode, root)
}

// twinSteps is how many steps two Checkpointers both try to save.
const twinSteps = 12

// saveAllOnce saves each step, in an order that is the same for all who do it, and
// prints which saves have succeeded.
func saveAllOnce(t *testing.T, root string) {
	c := openRun(t, root, training.Options{})
	won, err := saveWhatIsFree(t, c)
	if err != nil {
		t.Error(err)
	}
	for _, n := range won {
		fmt.Println("saved", n)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// saveWhatIsFree tries to save each step, some in the background, and returns those
// that it has.
func saveWhatIsFree(t *testing.T, c *training.Checkpointer) (won []int, err error) {
	for n := range twinSteps {
		saved, err := saveSomehow(t, c, n, n%2 == 1, training.Force())
		switch {
		case saved && err == nil:
			won = append(won, n)
		case saved || !errors.Is(err, orbax.ErrExist) && !errors.Is(err, orbax.ErrBusy):
			return won, fmt.Errorf("step %d: saved %t, %w", n, saved, err)
		}
	}
	return won, nil
}

// wantAllOnce demands that each step was saved by exactly one, and is whole.
func wantAllOnce(t *testing.T, root string, won ...[]int) {
	t.Helper()
	all := slices.Concat(won...)
	t.Logf("saved by each: %v", won)
	slices.Sort(all)
	var want []int
	for n := range twinSteps {
		want = append(want, n)
	}
	if !slices.Equal(all, want) {
		t.Errorf("saved %v, by each %v", all, won)
	}
	c := openRun(t, root, training.Options{})
	if err := c.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	wantSteps(t, c, want...)
}

// Checkpointers of one program that save the same steps of one root.
func TestTwoInOneProcess(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	won := make([][]int, 3)
	var group sync.WaitGroup
	for i := range won {
		c := openRun(t, root, training.Options{})
		group.Go(func() {
			var err error
			if won[i], err = saveWhatIsFree(t, c); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	wantAllOnce(t, root, won...)
}

// The same in several processes.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	won := make([][]int, 2)
	var group sync.WaitGroup
	for i := range won {
		child := startChild(t, "twin", root)
		group.Go(func() {
			for line := range child.Lines {
				var n int
				if _, err := fmt.Sscanf(line, "saved %d", &n); err == nil {
					won[i] = append(won[i], n)
				} else if line != "PASS" {
					t.Log("child: ", line)
				}
			}
			if code := child.Wait(); code != 0 {
				t.Errorf("exit code %d, want 0", code)
			}
		})
	}
	group.Wait()
	wantAllOnce(t, root, won...)
}

// One sees what the other has saved and removed, without being told.
func TestTwoTakeTurns(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	a := openRun(t, root, training.Options{})
	b := openRun(t, root, training.Options{})
	mustSave(t, a, 1)
	if saved, err := b.Save(t.Context(), 1, stateOf(9)); !errors.Is(err, orbax.ErrExist) || saved {
		t.Errorf("b saves a's step: %t, %v", saved, err)
	}
	if _, err := b.Load(t.Context(), 1); err != nil {
		t.Error(err)
	}
	mustSave(t, b, 2)
	if saved, err := a.Save(t.Context(), 2, stateOf(9), training.Force()); !errors.Is(err, orbax.ErrExist) || saved {
		t.Errorf("a saves b's step: %t, %v", saved, err)
	}
	if err := a.Delete(t.Context(), 1); err != nil {
		t.Error(err)
	}
	if _, err := b.Load(t.Context(), 1); !errors.Is(err, orbax.ErrNotExist) {
		t.Errorf("b loads what a has deleted: %v", err)
	}
	h, resp := hold(t, t.Context(), a, 3)
	if saved, err := b.Save(t.Context(), 3, stateOf(9)); !errors.Is(err, orbax.ErrBusy) || saved {
		t.Errorf("b saves what a is saving: %t, %v", saved, err)
	}
	h.end <- nil
	if saved, err := resp.Result(t.Context()); err != nil || !saved {
		t.Errorf("%t, %v", saved, err)
	}
	var s runState
	err := b.LoadInto(t.Context(), 3, &s, orbax.Name("state"))
	if err == nil {
		err = s.check(3)
	}
	if err != nil {
		t.Error(err)
	}
}

// Two that save to one root in turns, and remove what neither keeps, are in nobody's
// way.
func TestTwoThatRemove(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	var group sync.WaitGroup
	for i := range 2 {
		c := openRun(t, root, training.Options{Preservation: training.LatestN{N: 2}})
		group.Go(func() {
			for n := i; n < 40; n += 2 {
				saved, err := c.Save(t.Context(), n, stateOf(n), training.Force())
				if err != nil || !saved {
					t.Errorf("step %d: %t, %v", n, saved, err)
				}
			}
			if err := c.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	c := openRun(t, root, training.Options{Preservation: training.LatestN{N: 2}})
	mustSave(t, c, 50)
	if err := c.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	latest := listed(c)
	if len(latest) != 2 || latest[1] != 50 {
		t.Fatalf("steps %v", latest)
	}
	wantSteps(t, c, latest...)
}

// One Checkpointer that many goroutines use at once.
func TestManyGoroutines(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	c := openRun(t, root, training.Options{
		Preservation: training.LatestN{N: 3},
		Progress:     func(int, orbax.Stats) {},
	})
	each := testenv.Pick(10, 4)
	var saved, refused atomic.Int32
	var savers, others sync.WaitGroup
	for i := range 3 {
		savers.Go(func() {
			for n := range each {
				step := 3*n + i
				ok, err := saveSomehow(t, c, step, n%2 == 0)
				switch {
				case ok && err == nil:
					saved.Add(1)
				case !ok && errors.Is(err, training.ErrOlderStep):
					refused.Add(1)
				default:
					t.Errorf("step %d: %t, %v", step, ok, err)
				}
			}
		})
	}
	done := make(chan struct{})
	for _, f := range []func(){
		func() {
			var s runState
			n, err := c.Resume(t.Context(), &s)
			if err == nil {
				err = s.check(n)
			}
			if err != nil && !errors.Is(err, orbax.ErrNotExist) && !errors.Is(err, orbax.ErrBusy) {
				t.Error(err)
			}
		},
		func() {
			if err := c.Reload(t.Context()); err != nil {
				t.Error(err)
			}
			c.Checkpoints()
			c.Latest()
			c.SavingInProgress()
			c.Path(training.LatestStep)
		},
		func() {
			if err := c.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		},
	} {
		others.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					f()
				}
			}
		})
	}
	savers.Wait()
	close(done)
	others.Wait()
	t.Logf("%d saved, %d came too late", saved.Load(), refused.Load())
	if err := c.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	steps := listed(c)
	if len(steps) != 3 || steps[2] != 3*each-1 {
		t.Fatalf("steps %v", steps)
	}
	wantSteps(t, c, steps...)
}

// saveSomehow saves a step, in the background or not.
func saveSomehow(t *testing.T, c *training.Checkpointer, step int, background bool, options ...orbax.SaveOption) (bool, error) {
	if !background {
		return c.Save(t.Context(), step, stateOf(step), options...)
	}
	resp, err := c.SaveAsync(t.Context(), step, stateOf(step), options...)
	if err != nil {
		return false, err
	}
	return resp.Result(t.Context())
}

// Close while others save: each save is made or refused.
func TestCloseBesideSaves(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	c := openRun(t, root, training.Options{})
	var mu sync.Mutex
	var want []int
	var group sync.WaitGroup
	for i := range 3 {
		group.Go(func() {
			for n := i; ; n += 3 {
				saved, err := saveSomehow(t, c, n, i > 0)
				if errors.Is(err, training.ErrOlderStep) {
					continue
				}
				if errors.Is(err, fs.ErrClosed) && !saved {
					return
				}
				if err != nil || !saved {
					t.Errorf("step %d: %t, %v", n, saved, err)
					return
				}
				mu.Lock()
				want = append(want, n)
				enough := len(want) >= 6
				mu.Unlock()
				if enough {
					group.Go(func() {
						if err := c.Close(); err != nil {
							t.Error(err)
						}
					})
				}
			}
		})
	}
	group.Wait()
	slices.Sort(want)
	wantSteps(t, openRun(t, root, training.Options{}), want...)
}
