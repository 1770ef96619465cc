package training_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/training"
)

// A step of which only the metrics are damaged is damaged for everybody: the list,
// a reader and Resume, after which the run saves it anew.
func TestDamagedMetrics(t *testing.T) {
	root := filepath.Join(t.TempDir(), "run")
	first := openRun(t, root, training.Options{})
	for step := range 2 {
		if _, err := first.Save(t.Context(), step, stateOf(step), orbax.Metrics(map[string]any{"loss": 1}), training.Force()); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "1", "metrics", "metrics"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if ck, err := training.Latest(t.Context(), root, training.ReadOptions{}); err != nil || ck.Step != 0 {
		t.Errorf("a reader finds %+v, %v", ck, err)
	}
	c := openRun(t, root, training.Options{})
	if ck, ok := c.Latest(); !ok || ck.Step != 1 || ck.Err == nil {
		t.Errorf("the latest is %+v", ck)
	}
	var s runState
	if step, err := c.Resume(t.Context(), &s); err != nil || step != 0 || s.check(0) != nil {
		t.Fatalf("resumed from %d, %v", step, err)
	}
	if saved, err := c.Save(t.Context(), 1, stateOf(1), training.Force()); err != nil || !saved {
		t.Errorf("anew: %t, %v", saved, err)
	}
	if ck, ok := c.Latest(); !ok || ck.Step != 1 || ck.Err != nil {
		t.Errorf("the latest is %+v", ck)
	}
}
