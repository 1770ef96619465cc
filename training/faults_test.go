package training_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/training"
)

func TestStepsThatAreRefused(t *testing.T) {
	t.Parallel()
	c := openRun(t, filepath.Join(t.TempDir(), "run"), training.Options{})
	for _, n := range []int{-1, -2, math.MinInt} {
		if saved, err := c.Save(t.Context(), n, stateOf(0), training.Force()); err == nil || saved {
			t.Errorf("step %d is saved: %t, %v", n, saved, err)
		}
		if resp, err := c.SaveAsync(t.Context(), n, stateOf(0)); err == nil || resp != nil {
			t.Errorf("step %d is being saved: %v, %v", n, resp, err)
		}
	}
	mustSave(t, c, 5)
	for _, o := range [][]orbax.SaveOption{nil, {training.Force()}} {
		if saved, err := c.Save(t.Context(), 5, stateOf(6), o...); !errors.Is(err, orbax.ErrExist) || saved {
			t.Errorf("again: %t, %v", saved, err)
		}
	}
	if saved, err := c.Save(t.Context(), 4, stateOf(4)); !errors.Is(err, training.ErrOlderStep) || saved {
		t.Errorf("older: %t, %v", saved, err)
	}
	wantSteps(t, c, 5)
	if saved, err := c.Save(t.Context(), 3, stateOf(3), training.Force()); err != nil || !saved {
		t.Errorf("older, by force: %t, %v", saved, err)
	}
	wantSteps(t, c, 3, 5)
	for _, n := range []int{4, 6, -7} {
		if _, err := c.Load(t.Context(), n); !errors.Is(err, orbax.ErrNotExist) {
			t.Errorf("load of %d: %v", n, err)
		}
		if err := c.Delete(t.Context(), n); err == nil || n >= 0 && !errors.Is(err, orbax.ErrNotExist) {
			t.Errorf("delete of %d: %v", n, err)
		}
	}
	if err := c.Delete(t.Context(), training.LatestStep); err == nil {
		t.Error("the newest is deleted, without a number")
	}
	// Whatever is refused is refused before the old one is touched.
	for _, o := range []orbax.SaveOption{orbax.Metrics(make(chan int)), orbax.CustomMetadata(math.NaN())} {
		if saved, err := c.Save(t.Context(), 5, stateOf(5), orbax.Overwrite(), o); err == nil || saved {
			t.Errorf("overwriting: %t, %v", saved, err)
		}
	}
	wantSteps(t, c, 3, 5)
}

func TestWhatIsNotJSON(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "run")
	loop := map[string]any{}
	loop["loop"] = loop
	values := map[string]any{
		"a number":   math.NaN(), // which metrics may be
		"a function": func() {}, "a channel": map[string]any{"c": make(chan int)}, "a loop": loop,
	}
	c := openRun(t, root, training.Options{})
	mustSave(t, c, 1)
	for name, v := range values {
		for what, o := range map[string]orbax.SaveOption{"metrics": orbax.Metrics(v), "custom metadata": orbax.CustomMetadata(v)} {
			if what == "metrics" && name == "a number" {
				continue
			}
			if saved, err := c.Save(t.Context(), 2, stateOf(2), o); err == nil || saved {
				t.Errorf("%s that are %s: %t, %v", what, name, saved, err)
			}
			if resp, err := c.SaveAsync(t.Context(), 2, stateOf(2), o); err == nil || resp != nil {
				t.Errorf("%s that are %s, in the background: %v, %v", what, name, resp, err)
			}
		}
		if other, err := training.New(t.Context(), filepath.Join(root, "other"), training.Options{CustomMetadata: v}); err == nil {
			other.Close()
			t.Errorf("the root's metadata may be %s", name)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "other")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a root that is refused: %v", err)
	}
	wantSteps(t, c, 1)
	mustSave(t, c, 2)
	wantSteps(t, c, 1, 2)
	// Any other value is some JSON.
	for i, v := range []any{map[string]any{"loss": 0.5}, []any{1, nil}, "good", 3.5, false,
		math.NaN(), map[string]any{"loss": math.Inf(-1), "eval": []any{math.NaN(), math.Inf(1)}}} {
		if saved, err := c.Save(t.Context(), 3+i, stateOf(3+i), orbax.Metrics(v)); err != nil || !saved {
			t.Errorf("metrics %v: %t, %v", v, saved, err)
		}
		if ck, ok := c.Latest(); !ok || fmt.Sprint(ck.Metrics) != fmt.Sprint(v) {
			t.Errorf("metrics %v are %v", v, ck.Metrics)
		}
	}
}
