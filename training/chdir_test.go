package training_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/training"
)

// A relative root is where it was when it was given, wherever the program goes, and
// errors call it as the program did.
func TestRelativeRoot(t *testing.T) {
	top := t.TempDir()
	for _, dir := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(filepath.Join(top, "a"))
	watchCtx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	watch := training.Watch(watchCtx, "run", training.ReadOptions{Interval: time.Millisecond})
	c := openRun(t, "run", training.Options{Preservation: training.LatestN{N: 2}})
	mustSave(t, c, 1)
	early, err := training.Latest(t.Context(), "run", training.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.SaveAsync(t.Context(), 2, stateOf(2))
	if err != nil {
		t.Fatal(err)
	}

	t.Chdir(filepath.Join(top, "b"))
	if saved, err := resp.Result(t.Context()); err != nil || !saved {
		t.Error(saved, err)
	}
	mustSave(t, c, 3)
	if saved, err := c.Save(t.Context(), 3, stateOf(3), orbax.Overwrite()); err != nil || !saved {
		t.Error(saved, err)
	}
	mustSave(t, c, 4)
	if err := c.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if got := listed(c); !slices.Equal(got, []int{3, 4}) {
		t.Errorf("steps %v", got)
	}
	var s runState
	if step, err := c.Resume(t.Context(), &s); step != 4 || err != nil || s.check(4) != nil {
		t.Errorf("resumed at %d, %v", step, err)
	}
	for _, path := range []string{c.Path(4), c.Path(9), c.Path(training.LatestStep), early.Path} {
		if !filepath.IsAbs(path) {
			t.Errorf("path %s", path)
		}
	}
	for ck, err := range watch {
		if err != nil || ck.Step != 4 || orbax.LoadInto(t.Context(), ck.Path, &s) != nil {
			t.Errorf("the watch gives step %d, %v", ck.Step, err)
		}
		break
	}
	if c.Root() != "run" {
		t.Errorf("the root is called %s", c.Root())
	}
	if _, err := os.Stat("run"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("another root: %v", err)
	}

	if err := os.WriteFile(filepath.Join(c.Path(4), "state", "_METADATA"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, save := c.Save(t.Context(), 4, stateOf(4))
	_, load := c.Load(t.Context(), 4)
	_, older := c.Save(t.Context(), 1, stateOf(1))
	failed, err := c.SaveAsync(t.Context(), 5, stateOf(5))
	c.Cancel()
	if err == nil {
		_, err = failed.Result(t.Context())
	}
	for what, err := range map[string]error{"save": save, "load": load, "older": older, "canceled": err, "delete": c.Delete(t.Context(), 9)} {
		if err == nil || strings.Contains(err.Error(), c.Path(4)) || !strings.Contains(err.Error(), " run") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
