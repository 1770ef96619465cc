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

// What a run says of itself is not read from outside of its root, unless the program says
// that it trusts it.
func TestMetadataBehindLinks(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for name, link := range map[string]string{"directory": "metadata", "document": "metadata/_ROOT_METADATA", "digests": "metadata/digests.sha256"} {
		for _, inside := range []bool{false, true} {
			run := filepath.Join(t.TempDir(), "run")
			c := openRun(t, run, training.Options{CustomMetadata: map[string]any{"secret": 1}})
			mustSave(t, c, 1)
			c.Close()
			from, to := filepath.Join(run, link), filepath.Join(filepath.Dir(run), "elsewhere")
			if inside {
				to = filepath.Join(run, "elsewhere")
			}
			if err := errors.Join(os.Rename(from, to), os.Symlink(to, from)); err != nil {
				t.Fatal(err)
			}
			c = openRun(t, run, training.Options{})
			trusting := openRun(t, run, training.Options{LoadOptions: []orbax.LoadCheckpointablesOption{orbax.FollowLinks()}})
			for what, read := range map[string]func() (*training.RootMetadata, error){
				"Metadata":     func() (*training.RootMetadata, error) { return training.Metadata(ctx, run, training.ReadOptions{}) },
				"RootMetadata": func() (*training.RootMetadata, error) { return c.RootMetadata(ctx) },
			} {
				m, err := read()
				if inside && (err != nil || m.Custom["secret"] != 1) || !inside && (!errors.Is(err, orbax.ErrLink) || m != nil) {
					t.Errorf("%s, %s, inside %v: %+v, %v", name, what, inside, m, err)
				}
			}
			m, err := training.Metadata(ctx, run, training.ReadOptions{OpenOptions: []orbax.OpenOption{orbax.FollowLinks()}})
			if err != nil || m.Custom["secret"] != 1 {
				t.Errorf("%s, followed: %+v, %v", name, m, err)
			}
			if m, err := trusting.RootMetadata(ctx); err != nil || m.Custom["secret"] != 1 {
				t.Errorf("%s, followed by a Checkpointer: %+v, %v", name, m, err)
			}
		}
	}
}
