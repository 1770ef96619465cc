package training_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/training"
)

// parts are the directories of a step.
func parts(t *testing.T, c *training.Checkpointer, step int) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(c.Path(step))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// A run of Orbax's old manager keeps the name of its item, until the program gives
// another.
func TestFollowTheRun(t *testing.T) {
	t.Parallel()
	c := openRun(t, filepath.Join(t.TempDir(), "run"), training.Options{})
	save := func(step int, async bool, options ...orbax.SaveOption) {
		t.Helper()
		saved, err := false, error(nil)
		if async {
			var r *training.Response
			if r, err = c.SaveAsync(t.Context(), step, stateOf(step), options...); err == nil {
				saved, err = r.Result(t.Context())
			}
		} else {
			saved, err = c.Save(t.Context(), step, stateOf(step), options...)
		}
		if err != nil || !saved {
			t.Fatal(saved, err)
		}
	}
	save(0, false)
	save(1, false, orbax.Name("default"))
	save(2, false, training.Metrics(1))
	save(3, true)
	save(3, false, orbax.Overwrite())
	save(4, true, orbax.Name("params"))
	save(5, false)
	for step, want := range [][]string{{"state"}, {"default"}, {"default", "metrics"}, {"default"}, {"params"}, {"state"}} {
		if got := parts(t, c, step); !slices.Equal(got, want) {
			t.Errorf("step %d has %q, want %q", step, got, want)
		}
		var s runState
		if err := c.LoadInto(t.Context(), step, &s); err != nil || s.check(step) != nil {
			t.Error(err, s.check(step))
		}
	}
}

// The documents of a run keep their names.
func TestFollowTheNamesOfDocuments(t *testing.T) {
	t.Parallel()
	c := openRun(t, filepath.Join(t.TempDir(), "run"), training.Options{Sharing: training.Sharing{Off: true}})
	items := func(step int) map[string]any {
		return map[string]any{"state": stateOf(step), "old": handler.JSON{Value: step}, "new": handler.JSON{Value: step}}
	}
	save := func(step int, o ...orbax.SaveCheckpointablesOption) {
		t.Helper()
		if saved, err := c.SaveCheckpointables(t.Context(), step, items(step), o...); err != nil || !saved {
			t.Fatal(saved, err)
		}
		var got int
		if _, err := c.LoadCheckpointables(t.Context(), step, map[string]any{"old": handler.JSON{Value: &got}}); err != nil || got != step {
			t.Errorf("step %d: %d, %v", step, got, err)
		}
	}
	save(1)
	// As Orbax v0 calls it, which writes no digests.
	old := filepath.Join(c.Path(1), "old")
	if err := os.Rename(filepath.Join(old, "data.json"), filepath.Join(old, "metadata")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(c.Path(1), "digests.sha256")); err != nil {
		t.Fatal(err)
	}
	save(2)
	save(3)
	save(3, orbax.Overwrite())
	for step := 2; step <= 3; step++ {
		for file, want := range map[string]bool{"old/metadata": true, "old/data.json": false, "new/data.json": true, "new/metadata": false} {
			if _, err := os.Stat(filepath.Join(c.Path(step), file)); (err == nil) != want {
				t.Errorf("step %d, %s: %v", step, file, err)
			}
		}
		if err := orbax.Verify(t.Context(), c.Path(step)); err != nil {
			t.Error(err)
		}
	}
}
