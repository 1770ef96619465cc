package orbax_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/storage/mem"
	"github.com/go-orbax/orbax/training"
)

var byMarker = orbax.Atomicity(orbax.CommitFile)

// Whoever comes beside a save by marker: readers see that it is unfinished, writers of
// either kind and deletions that another is at work.
func TestBesideSaveByMarker(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ck")
	state := map[string]any{"a": 1}
	held, resp, err := hold(t.Context(), path, byMarker)
	if err != nil {
		t.Fatal(err)
	}
	if is, err := orbax.IsCheckpoint(t.Context(), path); is || err != nil {
		t.Errorf("IsCheckpoint: %v, %v", is, err)
	}
	if _, err := orbax.Load(t.Context(), path); !errors.Is(err, orbax.ErrIncomplete) {
		t.Errorf("Load: %v", err)
	}
	for name, f := range map[string]func() error{
		"by rename":         func() error { return orbax.Save(t.Context(), path, state) },
		"by rename over it": func() error { return orbax.Save(t.Context(), path, state, orbax.Overwrite()) },
		"by marker":         func() error { return orbax.Save(t.Context(), path, state, byMarker) },
		"by marker over it": func() error { return orbax.Save(t.Context(), path, state, byMarker, orbax.Overwrite()) },
		"deletion":          func() error { return orbax.Delete(t.Context(), path) },
	} {
		if err := f(); !errors.Is(err, orbax.ErrBusy) {
			t.Errorf("%s: %v", name, err)
		}
	}
	close(held.release)
	if err := resp.Result(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantVersion(t, path, 9)
	if err := orbax.Verify(t.Context(), path); err != nil {
		t.Error(err)
	}
	if temporary, _ := namesIn(t, dir); len(temporary) > 0 {
		t.Errorf("left %q", temporary)
	}
	// And the other way round.
	other := filepath.Join(dir, "other")
	held, resp, err = hold(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	if err := orbax.Save(t.Context(), other, state, byMarker); !errors.Is(err, orbax.ErrBusy) {
		t.Errorf("by marker beside one by rename: %v", err)
	}
	close(held.release)
	if err := resp.Result(t.Context()); err != nil {
		t.Error(err)
	}
}

// Of several that begin together one comes through.
func TestSavesTogetherByMarker(t *testing.T) {
	for range 20 {
		path := filepath.Join(t.TempDir(), "ck")
		errs := make([]error, 4)
		var group sync.WaitGroup
		for i := range errs {
			group.Go(func() {
				var options []orbax.SaveOption
				if i%2 == 0 {
					options = append(options, byMarker)
				}
				errs[i] = orbax.Save(context.Background(), path, map[string]any{"a": i}, options...)
			})
		}
		group.Wait()
		won := slices.Index(errs, nil)
		for i, err := range errs {
			if i != won && !errors.Is(err, orbax.ErrBusy) && !errors.Is(err, orbax.ErrExist) {
				t.Errorf("%d: %v", i, err)
			}
		}
		if won < 0 { // each gave way to another
			continue
		}
		if got, err := orbax.LoadAs[map[string]int](t.Context(), path); err != nil || got["a"] != won {
			t.Errorf("%v, %v; %d won", got, err, won)
		}
	}
}

// What a save by marker may replace.
func TestOverwriteByMarker(t *testing.T) {
	over := []orbax.SaveOption{byMarker, orbax.Overwrite()}
	state := map[string]any{"a": 2}
	for name, tc := range map[string]struct {
		make    func(path string) error
		refused error
	}{
		"nothing": {func(string) error { return nil }, nil},
		"empty":   {func(p string) error { return os.Mkdir(p, 0o777) }, nil},
		"unfinished": {func(p string) error {
			return errors.Join(orbax.Save(t.Context(), p, state, byMarker), os.Remove(filepath.Join(p, "commit_success.txt")))
		}, nil},
		"complete": {func(p string) error { return orbax.Save(t.Context(), p, map[string]any{"a": 1}) }, orbax.ErrUnsupported},
		"damaged": {func(p string) error {
			return errors.Join(orbax.Save(t.Context(), p, state), os.WriteFile(filepath.Join(p, "_CHECKPOINT_METADATA"), []byte("{"), 0o666))
		}, orbax.ErrUnsupported},
		"file": {func(p string) error { return os.WriteFile(p, []byte("mine"), 0o666) }, orbax.ErrInvalidCheckpoint},
		"others": {func(p string) error {
			return errors.Join(os.Mkdir(p, 0o777), os.WriteFile(filepath.Join(p, "mine"), nil, 0o666))
		}, orbax.ErrInvalidCheckpoint},
		"unfinished with others": {func(p string) error {
			return errors.Join(orbax.Save(t.Context(), p, state, byMarker), os.Remove(filepath.Join(p, "commit_success.txt")),
				os.WriteFile(filepath.Join(p, "mine"), nil, 0o666))
		}, orbax.ErrInvalidCheckpoint},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "ck")
			if err := tc.make(path); err != nil {
				t.Fatal(err)
			}
			before := snapshotDir(t, dir)
			err := orbax.Save(t.Context(), path, state, over...)
			if !errors.Is(err, tc.refused) {
				t.Fatal(err)
			}
			if tc.refused != nil {
				if after := snapshotDir(t, dir); !slices.Equal(before, after) {
					t.Errorf("before %q, after %q", before, after)
				}
				return
			}
			if got, err := orbax.LoadAs[map[string]int](t.Context(), path); err != nil || got["a"] != 2 {
				t.Errorf("%v, %v", got, err)
			}
			onlyTemporary(t, dir, "ck")
		})
	}
}

func TestAtomicityRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ck")
	state := map[string]any{"a": 1}
	if err := orbax.Save(t.Context(), path, state, orbax.Atomicity(7)); !errors.Is(err, orbax.ErrUsage) {
		t.Error(err)
	}
	if err := partial.Save(t.Context(), path, state, byMarker); !errors.Is(err, orbax.ErrUsage) {
		t.Error(err)
	}
	only := orbax.In(failstore.NewMarked(mem.New()))
	if err := orbax.Save(t.Context(), "ck", state, only, orbax.Atomicity(orbax.AtomicRename)); !errors.Is(err, orbax.ErrUnsupported) || !strings.Contains(err.Error(), "leave Atomicity out") {
		t.Errorf("a store that cannot rename: %v", err)
	}
	if _, err := orbax.Load(t.Context(), "ck", only); !errors.Is(err, orbax.ErrNotExist) {
		t.Errorf("after the refused save: %v", err)
	}
	if err := orbax.Save(t.Context(), "ck", state, only, byMarker); err != nil {
		t.Error(err)
	}
}

// A run whose steps are committed by marker.
func TestRunByMarker(t *testing.T) {
	root := t.TempDir()
	options := training.Options{SaveOptions: []orbax.SaveCheckpointablesOption{byMarker}}
	run := func() *training.Checkpointer {
		c, err := training.New(t.Context(), root, options)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := run()
	for step := range 2 {
		if _, err := c.Save(t.Context(), step, map[string]any{"step": step}); err != nil {
			t.Fatal(err)
		}
	}
	held := newHeldItem()
	resp, err := c.SaveCheckpointablesAsync(t.Context(), 2, map[string]any{"held": held, "state": map[string]any{"step": 2}})
	if err != nil {
		t.Fatal(err)
	}
	<-held.started
	if ck, err := training.Latest(t.Context(), root, training.ReadOptions{}); err != nil || ck.Step != 1 {
		t.Errorf("while it is saved: %v, %v", ck, err)
	}
	close(held.release)
	if _, err := resp.Result(t.Context()); err != nil {
		t.Error(err)
	}
	if ck, err := training.Latest(t.Context(), root, training.ReadOptions{}); err != nil || ck.Step != 2 {
		t.Errorf("afterwards: %v, %v", ck, err)
	}
	if err := errors.Join(c.Close(), os.Remove(filepath.Join(root, "2", "commit_success.txt"))); err != nil {
		t.Fatal(err)
	}
	c = run()
	var state struct {
		Step int `orbax:"step"`
	}
	if step, err := c.Resume(t.Context(), &state); err != nil || step != 1 {
		t.Errorf("resumed %d, %v", step, err)
	}
	if _, err := c.Save(t.Context(), 2, map[string]any{"step": 2}); err != nil {
		t.Errorf("saved anew: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if ck, err := training.Latest(t.Context(), root, training.ReadOptions{}); err != nil || ck.Step != 2 {
		t.Errorf("at the end: %v, %v", ck, err)
	}
}

// A process that is killed while it saves by marker leaves whole checkpoints, and one
// that is known to be unfinished and can be saved anew.
func TestKillSaveByMarker(t *testing.T) {
	killSaves(t, "marker", func(path string, version int) {
		entries, lerr := os.ReadDir(path)
		switch found, err := crashVersion(path); {
		case err == nil && found == version:
			return
		case lerr == nil && len(entries) == 0 && errors.Is(err, orbax.ErrInvalidCheckpoint): // just made
		case err != nil && !errors.Is(err, orbax.ErrIncomplete) || found != 0:
			t.Errorf("the next has version %d, %v", found, err)
		}
		if is, err := orbax.IsCheckpoint(t.Context(), path); is || err != nil {
			t.Errorf("IsCheckpoint: %v, %v", is, err)
		}
		if err := orbax.Save(t.Context(), path, crashState(version), byMarker, orbax.Overwrite()); err != nil {
			t.Error(err)
		}
	})
}
