package training_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/training"
)

var byMarker = []orbax.SaveCheckpointablesOption{orbax.Atomicity(orbax.CommitFile)}

// A run whose saves are committed by a marker saves a damaged step anew that Resume has
// passed over, and the damaged one stays until the new one is complete.
func TestDamagedStepByMarker(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{
		"documents": "_CHECKPOINT_METADATA",
		"tree":      "state/_METADATA",
		"array":     "state/d",
		"mark":      "commit_success.txt",
	} {
		for mode, options := range map[string][]orbax.SaveCheckpointablesOption{"": nil, " with Overwrite": {orbax.Overwrite()}} {
			t.Run(name+mode, func(t *testing.T) {
				t.Parallel()
				root := t.TempDir()
				mustSave(t, openRun(t, root, training.Options{SaveOptions: byMarker, Sharing: training.Sharing{Off: true}}), 1, 2, 3)
				flipBit(t, filepath.Join(root, "3", filepath.FromSlash(file)))
				if name != "array" {
					flipBit(t, filepath.Join(root, "3", "state", "d"))
				}
				c := openRun(t, root, training.Options{SaveOptions: byMarker, Sharing: training.Sharing{Off: true}})
				save := func() (bool, error) {
					return c.SaveCheckpointables(t.Context(), 3, map[string]any{"state": stateOf(3)}, options...)
				}
				if _, err := save(); !errors.Is(err, orbax.ErrExist) {
					t.Fatalf("replaced before Resume has passed it over: %v", err)
				}
				if n, err := c.Resume(t.Context(), new(runState)); n != 2 || err != nil {
					t.Fatalf("resumed %d, %v", n, err)
				}
				before, err := os.ReadFile(filepath.Join(root, "3", filepath.FromSlash("state/_METADATA")))
				if err != nil {
					t.Fatal(err)
				}
				held, boom := newHeldPart(), errors.New("boom")
				held.end <- boom
				_, err = c.SaveCheckpointables(t.Context(), 3, map[string]any{"state": stateOf(3), "held": held}, options...)
				if !errors.Is(err, boom) {
					t.Fatalf("a save that fails: %v", err)
				}
				after, err := os.ReadFile(filepath.Join(root, "3", filepath.FromSlash("state/_METADATA")))
				if err != nil || string(after) != string(before) {
					t.Errorf("the damaged step is gone before the new one is complete: %v", err)
				}
				if saved, err := save(); !saved || err != nil {
					t.Fatal(saved, err)
				}
				if err := checkStep(c, 3); err != nil {
					t.Error(err)
				}
				if _, err := os.Stat(filepath.Join(root, "3", "state", "commit_success.txt")); err != nil {
					t.Errorf("not as saves by marker are: %v", err)
				}
				// What is intact by now is not replaced.
				if _, err := save(); !errors.Is(err, orbax.ErrExist) {
					t.Errorf("the intact one is replaced: %v", err)
				}
				mustSave(t, c, 4)
				if err := checkStep(c, 4); err != nil {
					t.Error(err)
				}
				wantSteps(t, c, 1, 2, 3, 4)
			})
		}
	}
}

// A save in the background does the same, and what is given to that save alone counts.
func TestDamagedStepByMarkerOfOneSave(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	mustSave(t, openRun(t, root, training.Options{Sharing: training.Sharing{Off: true}}), 1, 2)
	flipBit(t, filepath.Join(root, "2", "state", "d"))
	c := openRun(t, root, training.Options{})
	if n, err := c.Resume(t.Context(), new(runState)); n != 1 || err != nil {
		t.Fatalf("resumed %d, %v", n, err)
	}
	resp, err := c.SaveAsync(t.Context(), 2, stateOf(2), orbax.Atomicity(orbax.CommitFile))
	if err != nil {
		t.Fatal(err)
	}
	if saved, err := resp.Result(t.Context()); !saved || err != nil {
		t.Fatal(saved, err)
	}
	if err := checkStep(c, 2); err != nil {
		t.Error(err)
	}
}

// In a store that cannot rename, a damaged step is replaced after a resume, and an intact
// one by Overwrite.
func TestDamagedStepThatNeedsMarker(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	store := failstore.NewMarked(storage.Local())
	mustSave(t, openRun(t, root, training.Options{Store: store, Sharing: training.Sharing{Off: true}}), 1, 2, 3)
	flipBit(t, filepath.Join(root, "3", "state", "d"))
	c := openRun(t, root, training.Options{Store: store})
	if n, err := c.Resume(t.Context(), new(runState)); n != 2 || err != nil {
		t.Fatalf("resumed %d, %v", n, err)
	}
	held, boom := newHeldPart(), errors.New("boom")
	held.end <- boom
	if _, err := c.SaveCheckpointables(t.Context(), 3, map[string]any{"state": stateOf(3), "held": held}); !errors.Is(err, boom) {
		t.Fatalf("a save that fails: %v", err)
	}
	if latest, err := training.Latest(t.Context(), root, training.ReadOptions{Store: store}); err != nil || latest.Step != 3 {
		t.Errorf("after the save that failed: %v, %v", latest, err)
	}
	mustSave(t, c, 3, 4)
	for step := 1; step <= 4; step++ {
		if err := checkStep(c, step); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Save(t.Context(), 4, stateOf(4)); !errors.Is(err, orbax.ErrExist) {
		t.Errorf("an intact step is saved again: %v", err)
	}
	if _, err := c.Save(t.Context(), 4, stateOf(4), orbax.Overwrite()); err != nil {
		t.Errorf("an intact step is not replaced: %v", err)
	}
}
