package training_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/training"
)

// kill makes of a step what is left of a save that is committed by a marker and was
// killed.
func kill(t *testing.T, path string) {
	t.Helper()
	name := filepath.Join(path, "_CHECKPOINT_METADATA")
	doc, err := os.ReadFile(name)
	var m map[string]any
	if err == nil {
		err = json.Unmarshal(doc, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	m["commit_timestamp_nsecs"] = nil
	m["init_timestamp_nsecs"] = json.Number("1795917939128633360")
	if doc, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"digests.sha256", "commit_success.txt", "orbax.checkpoint"} {
		if err := os.Remove(filepath.Join(path, file)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(name, doc, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A run goes on before a save that was killed in the place of its step, and replaces
// it when it comes there.
func TestResumeBeforeAnUnfinishedStep(t *testing.T) {
	t.Parallel()
	for _, whole := range [][]int{{1, 2}, {}} {
		root := filepath.Join(t.TempDir(), "run")
		for _, step := range append(slices.Clone(whole), 3) {
			if err := orbax.Save(t.Context(), filepath.Join(root, string(rune('0'+step))), stateOf(step)); err != nil {
				t.Fatal(err)
			}
		}
		kill(t, filepath.Join(root, "3"))
		for name, ask := range askNewest {
			step, err := ask(t.Context(), nil, root)
			if len(whole) == 0 && !errors.Is(err, orbax.ErrNotExist) || len(whole) > 0 && (err != nil || step != 2) {
				t.Errorf("%s: step %d, %v", name, step, err)
			}
		}
		c := openRun(t, root, training.Options{})
		if got := listed(c); !slices.Equal(got, append([]int(nil), whole...)) {
			t.Errorf("steps %v", got)
		}
		if saved, err := c.Save(t.Context(), 3, stateOf(3)); !errors.Is(err, orbax.ErrExist) || saved {
			t.Errorf("without a resume: %t, %v", saved, err)
		}
		var s runState
		if step, err := c.Resume(t.Context(), &s); err != nil != (len(whole) == 0) || err == nil && step != 2 {
			t.Errorf("step %d, %v", step, err)
		}
		for step := len(whole) + 1; step <= 4; step++ {
			if saved, err := c.Save(t.Context(), step, stateOf(step)); err != nil || !saved {
				t.Errorf("step %d: %t, %v", step, saved, err)
			}
		}
		wantSteps(t, c, 1, 2, 3, 4)
		if saved, err := c.Save(t.Context(), 3, stateOf(3), training.Force()); !errors.Is(err, orbax.ErrExist) || saved {
			t.Errorf("a whole step is replaced: %t, %v", saved, err)
		}
	}
}
