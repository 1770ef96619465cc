package training_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/training"
)

// runState is a state of about 2 MiB in which every number tells its step, but for
// those that never change and are large enough to be shared.
type runState struct {
	W      []int32 `orbax:"w"`
	Frozen []int32 `orbax:"frozen"`
	Step   int     `orbax:"step"`
}

const runStateLen = 1 << 18

func stateOf(step int) *runState {
	s := &runState{make([]int32, runStateLen), make([]int32, runStateLen), step}
	for i := range s.W {
		s.W[i], s.Frozen[i] = int32(step+i), int32(-i)
	}
	return s
}

// check returns an error unless s is exactly the state of step.
func (s *runState) check(step int) error {
	want := stateOf(step)
	if s.Step != step || !slices.Equal(s.W, want.W) || !slices.Equal(s.Frozen, want.Frozen) {
		return fmt.Errorf("not the state of step %d: that of %d, with %d and %d numbers", step, s.Step, len(s.W), len(s.Frozen))
	}
	return nil
}

// checkStep returns an error unless a step is whole and holds its state.
func checkStep(c *training.Checkpointer, step int) error {
	if err := orbax.Verify(context.Background(), c.Path(step)); err != nil {
		return err
	}
	var s runState
	if err := c.LoadInto(context.Background(), step, &s); err != nil {
		return err
	}
	return s.check(step)
}

// openRun makes a Checkpointer, which saves every step unless o says otherwise, and
// which the test need not close.
func openRun(t *testing.T, root string, o training.Options) *training.Checkpointer {
	t.Helper()
	if o.SaveDecision == nil {
		o.SaveDecision = training.FixedIntervalPolicy{Interval: 1}
	}
	c, err := training.New(t.Context(), root, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func mustSave(t *testing.T, c *training.Checkpointer, steps ...int) {
	t.Helper()
	for _, n := range steps {
		if saved, err := c.Save(t.Context(), n, stateOf(n)); err != nil || !saved {
			t.Fatalf("step %d: saved %t, %v", n, saved, err)
		}
	}
}

func listed(c *training.Checkpointer) (steps []int) {
	for _, ck := range c.Checkpoints() {
		steps = append(steps, ck.Step)
	}
	return steps
}

// wantSteps demands that a root has exactly these steps, each whole, and nothing
// unfinished.
func wantSteps(t *testing.T, c *training.Checkpointer, want ...int) {
	t.Helper()
	if err := c.Reload(t.Context()); err != nil {
		t.Error(err)
	}
	if got := listed(c); !slices.Equal(got, want) {
		t.Errorf("the root has steps %v, want %v", got, want)
	}
	for _, n := range want {
		if err := checkStep(c, n); err != nil {
			t.Error(err)
		}
	}
	if left := leftovers(t, c.Root()); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

// leftovers returns the names of what is unfinished in root.
func leftovers(t *testing.T, root string) []string {
	t.Helper()
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return orbaxtest.Temporary(t, root)
}
