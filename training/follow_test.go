package training_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	save(2, false, orbax.Metrics(1))
	save(3, true)
	save(3, false, orbax.Overwrite())
	save(4, true, orbax.Name("params"))
	save(5, false)
	for step, want := range [][]string{{"state"}, {"default"}, {"default", "metrics"}, {"default"}, {"params"}, {"params"}} {
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

// A resume and a save without a name are about the same pytree, and about none where
// several may be meant.
func TestResumeAndSaveMeanTheSame(t *testing.T) {
	t.Parallel()
	note := handler.JSON{Value: map[string]any{"a": 1}}
	for name, c := range map[string]struct {
		items map[string]any
		want  string // "": refused
	}{
		"two items":           {map[string]any{"params": stateOf(1), "opt": map[string]any{"mu": 1}}, ""},
		"two, one is default": {map[string]any{"default": stateOf(1), "ema": stateOf(1)}, ""},
		"one, and JSON":       {map[string]any{"params": stateOf(1), "extra": note}, "params"},
		"one of another name": {map[string]any{"model": stateOf(1)}, "model"},
		"default":             {map[string]any{"default": stateOf(1), "extra": note}, "default"},
		"state and others":    {map[string]any{"state": stateOf(1), "a": map[string]any{"mu": 1}}, "state"},
	} {
		for _, digests := range []bool{true, false} {
			root := t.TempDir()
			c1 := openRun(t, root, training.Options{})
			if saved, err := c1.SaveCheckpointables(t.Context(), 1, c.items); !saved || err != nil {
				t.Fatal(saved, err)
			}
			c1.Close()
			if !digests {
				if err := os.Remove(filepath.Join(root, "1", "digests.sha256")); err != nil {
					t.Fatal(err)
				}
			}
			c2 := openRun(t, root, training.Options{})
			var s runState
			n, err := c2.Resume(t.Context(), &s)
			_, saveErr := c2.Save(t.Context(), 2, stateOf(2))
			if c.want == "" {
				for what, err := range map[string]error{"Resume": err, "Save": saveErr} {
					if !errors.Is(err, orbax.ErrStructure) || !strings.Contains(err.Error(), "orbax.Name") {
						t.Errorf("%s, digests %v: %s: %v", name, digests, what, err)
					}
				}
				named := slices.Sorted(maps.Keys(c.items))[1] // params, or ema
				if n, err := c2.Resume(t.Context(), &s, orbax.Name(named)); n != 1 || err != nil || s.check(1) != nil {
					t.Errorf("%s: with a name: %d, %v", name, n, err)
				}
				if saved, err := c2.Save(t.Context(), 2, stateOf(2), orbax.Name(named)); !saved || err != nil {
					t.Errorf("%s: with a name: %v, %v", name, saved, err)
				}
				if got := parts(t, c2, 2); !slices.Equal(got, []string{named}) {
					t.Errorf("%s: step 2 has %q", name, got)
				}
				continue
			}
			if n != 1 || err != nil || s.check(1) != nil || saveErr != nil {
				t.Errorf("%s, digests %v: %d, %v, %v", name, digests, n, err, saveErr)
			}
			if got := parts(t, c2, 2); !slices.Equal(got, []string{c.want}) {
				t.Errorf("%s, digests %v: step 2 has %q", name, digests, got)
			}
			if n, err := c2.Resume(t.Context(), &s); n != 2 || err != nil || s.check(2) != nil {
				t.Errorf("%s: again: %d, %v", name, n, err)
			}
		}
	}
}
