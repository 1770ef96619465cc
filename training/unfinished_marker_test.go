package training_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/training"
)

// leaveUnfinished makes of a directory what Orbax has left that was killed while it
// saved a step by marker.
func leaveUnfinished(t *testing.T, step string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(step, "state", "ocdbt.process_0", "d"), 0o777); err != nil {
		t.Fatal(err)
	}
	doc := `{"item_handlers": null, "metrics": {}, "performance_metrics": {}, "init_timestamp_nsecs": 1795915874848465399, "commit_timestamp_nsecs": null, "custom_metadata": {}}`
	if err := os.WriteFile(filepath.Join(step, "_CHECKPOINT_METADATA"), []byte(doc), 0o666); err != nil {
		t.Fatal(err)
	}
}

// newRunWith returns a Checkpointer of root, which is closed at the end.
func newRunWith(t *testing.T, root string, o training.Options) *training.Checkpointer {
	t.Helper()
	c, err := training.New(t.Context(), root, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// A run that was killed in a save by marker goes on: from the step before, or from
// nothing, and saves the step anew when it comes to it.
func TestUnfinishedStepIsSavedAnew(t *testing.T) {
	for name, before := range map[string]int{"first": 0, "later": 2} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			first := newRunWith(t, root, training.Options{})
			for step := range before {
				if _, err := first.Save(t.Context(), step, map[string]any{"step": step}); err != nil {
					t.Fatal(err)
				}
			}
			leaveUnfinished(t, first.Path(before))
			c := newRunWith(t, root, training.Options{})
			state := map[string]any{"step": -1}
			step, err := c.Resume(t.Context(), &state)
			if before == 0 {
				if !errors.Is(err, orbax.ErrNotExist) {
					t.Fatal(err)
				}
			} else if err != nil || step != before-1 || state["step"] != step {
				t.Fatal(step, state, err)
			}
			if i := c.Ignored(); len(i) != 1 || i[0].Path != c.Path(before) || !errors.Is(i[0].Err, orbax.ErrIncomplete) {
				t.Errorf("ignored: %v", i)
			}
			if saved, err := c.Save(t.Context(), before, map[string]any{"step": before}); !saved || err != nil {
				t.Fatal(saved, err)
			}
			if got, err := orbax.Load(t.Context(), c.Path(before)); err != nil || got.(map[string]any)["step"] != before {
				t.Errorf("%v, %v", got, err)
			}
			if _, err := c.Save(t.Context(), before, map[string]any{"step": 9}); !errors.Is(err, orbax.ErrExist) {
				t.Errorf("the complete one is replaced: %v", err)
			}
		})
	}
}

// What another program has begun since the run began is not replaced, nor is what it
// has completed.
func TestUnfinishedStepOfAnother(t *testing.T) {
	root := t.TempDir()
	c := newRunWith(t, root, training.Options{})
	leaveUnfinished(t, c.Path(1))
	_, err := c.Save(t.Context(), 1, map[string]any{"step": 1})
	if !errors.Is(err, orbax.ErrExist) || !errors.Is(err, orbax.ErrIncomplete) {
		t.Errorf("one that may go on is replaced: %v", err)
	}
	c = newRunWith(t, root, training.Options{})
	if err := os.RemoveAll(c.Path(1)); err != nil {
		t.Fatal(err)
	}
	if err := orbax.Save(t.Context(), c.Path(1), map[string]any{"step": 7}); err != nil {
		t.Fatal(err)
	}
	if _, err = c.Save(t.Context(), 1, map[string]any{"step": 1}); !errors.Is(err, orbax.ErrExist) {
		t.Errorf("one that is complete is replaced: %v", err)
	}
	if got, err := orbax.Load(t.Context(), c.Path(1)); err != nil || got.(map[string]any)["step"] != 7 {
		t.Errorf("%v, %v", got, err)
	}
}

// CleanTemporary removes what is unfinished, and nothing else: neither what Git LFS
// has not fetched, nor what has been finished meanwhile.
func TestCleanUnfinished(t *testing.T) {
	root := t.TempDir()
	pointer := []byte("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n")
	first := newRunWith(t, root, training.Options{})
	for step := range 2 {
		if _, err := first.Save(t.Context(), step, map[string]any{"step": step}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(first.Path(1), "_CHECKPOINT_METADATA"), pointer, 0o666); err != nil {
		t.Fatal(err)
	}
	leaveUnfinished(t, first.Path(2))
	newRunWith(t, root, training.Options{}).Wait(t.Context())
	if _, err := os.Stat(first.Path(2)); err != nil {
		t.Error("removed without CleanTemporary")
	}
	c := newRunWith(t, root, training.Options{CleanTemporary: true})
	if err := c.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(c.Path(2)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("not removed: %v", err)
	}
	for step := range 2 {
		if _, err := os.Stat(c.Path(step)); err != nil {
			t.Error(err)
		}
	}
}

// A save by marker that was killed at once leaves an empty directory in the place of its
// step, which is no more in the way of the next than a step that was begun.
func TestResumeBeforeAnEmptyStep(t *testing.T) {
	t.Parallel()
	for _, mode := range []orbax.AtomicityMode{orbax.AtomicRename, orbax.CommitFile} {
		for _, empty := range []int{0, 2} {
			root := filepath.Join(t.TempDir(), "run")
			for step := range empty {
				if err := orbax.Save(t.Context(), filepath.Join(root, fmt.Sprint(step)), stateOf(step)); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.MkdirAll(filepath.Join(root, fmt.Sprint(empty)), 0o777); err != nil {
				t.Fatal(err)
			}
			c, err := training.New(t.Context(), root, training.Options{
				SaveDecision: training.FixedIntervalPolicy{Interval: 1},
				SaveOptions:  []orbax.SaveCheckpointablesOption{orbax.Atomicity(mode)},
			})
			if err != nil {
				t.Fatal(err)
			}
			var s runState
			if step, err := c.Resume(t.Context(), &s); empty > 0 && (err != nil || step != empty-1) || empty == 0 && !errors.Is(err, orbax.ErrNotExist) {
				t.Errorf("mode %v: resumed %d, %v", mode, step, err)
			}
			if saved, err := c.Save(t.Context(), empty, stateOf(empty)); err != nil || !saved {
				t.Errorf("mode %v: step %d: %v, %v", mode, empty, saved, err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if err := orbax.Verify(t.Context(), filepath.Join(root, fmt.Sprint(empty))); err != nil {
				t.Error(err)
			}
		}
	}
}
