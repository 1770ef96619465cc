//go:build unix

package training_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/training"
)

// A run that its owner has put together of links is listed, read and resumed by a
// program that says that it trusts it.
func TestRunOfLinks(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	top := t.TempDir()
	run := filepath.Join(top, "run")
	c := openRun(t, run, training.Options{})
	mustSave(t, c, 1, 2)
	c.Close()
	// The whole of a step but its directory is elsewhere.
	for _, step := range []string{"1", "2"} {
		entries, err := os.ReadDir(filepath.Join(run, step))
		if err != nil {
			t.Fatal(err)
		}
		elsewhere := filepath.Join(top, "elsewhere", step)
		if err := os.MkdirAll(elsewhere, 0o777); err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			from, to := filepath.Join(run, step, e.Name()), filepath.Join(elsewhere, e.Name())
			if err := errors.Join(os.Rename(from, to), os.Symlink(to, from)); err != nil {
				t.Fatal(err)
			}
		}
	}
	load := func(ctx context.Context, ck *orbax.Checkpoint) error {
		return errors.Join(ck.LoadInto(ctx, &runState{}), ck.Verify(ctx))
	}
	if _, err := training.Latest(ctx, run, training.ReadOptions{Load: load}); !errors.Is(err, orbax.ErrLink) {
		t.Errorf("without the option: %v", err)
	}
	open := []orbax.OpenOption{orbax.FollowLinks()}
	if ck, err := training.Latest(ctx, run, training.ReadOptions{Load: load, OpenOptions: open}); err != nil || ck.Step != 2 {
		t.Errorf("Latest: %+v, %v", ck, err)
	}
	if all, err := training.Steps(ctx, run, training.ReadOptions{OpenOptions: open}); err != nil || len(all) != 2 || all[0].Err != nil {
		t.Errorf("Steps: %+v, %v", all, err)
	}

	c = openRun(t, run, training.Options{})
	var s runState
	if _, err := c.Resume(ctx, &s); !errors.Is(err, orbax.ErrLink) {
		t.Errorf("Resume without the option: %v", err)
	}
	if err := c.LoadInto(ctx, 1, &s, orbax.FollowLinks()); err != nil {
		t.Errorf("an option of one load: %v", err)
	} else if err := s.check(1); err != nil {
		t.Error(err)
	}
	if _, err := c.Metadata(ctx, 2, orbax.FollowLinks()); err != nil {
		t.Error(err)
	}

	c = openRun(t, run, training.Options{LoadOptions: []orbax.LoadCheckpointablesOption{orbax.FollowLinks()}})
	if step, err := c.Resume(ctx, &s); err != nil || step != 2 {
		t.Errorf("Resume: %d, %v", step, err)
	} else if err := s.check(2); err != nil {
		t.Error(err)
	}
	if err := c.LoadInto(ctx, 1, &s); err != nil {
		t.Error(err)
	}
	ck, err := c.Open(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	if err := load(ctx, ck); err != nil {
		t.Errorf("Open: %v", err)
	}
	mustSave(t, c, 3)
	if err := checkStep(c, 3); err != nil {
		t.Error(err)
	}
}
