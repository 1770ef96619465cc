package training_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/training"
)

// plant writes empty documents, as far as the directories that they are in.
func plant(t *testing.T, root string, names ...string) {
	t.Helper()
	for _, name := range names {
		name = filepath.Join(root, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte("{}"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDirectoryOfRuns gives directories of runs for the root of one.
func TestDirectoryOfRuns(t *testing.T) {
	t.Parallel()
	many := make([]string, 40)
	for i := range many {
		many[i] = fmt.Sprintf("run%d/100/_CHECKPOINT_METADATA", i+10)
	}
	for name, c := range map[string]struct {
		files  []string
		says   string // "" where it is a root
		format training.NameFormat
	}{
		"one run":               {[]string{"a/100/_CHECKPOINT_METADATA"}, "its entry a is a run; give that", nil},
		"runs":                  {[]string{"a/1/_CHECKPOINT_METADATA", "b/2/_CHECKPOINT_METADATA", "c/notes.txt"}, "its entries a, b are runs; give one of them", nil},
		"with prefix":           {[]string{"a/step_0001/_CHECKPOINT_METADATA"}, "its entry a is a run", nil},
		"root with prefix":      {[]string{"a/1/_CHECKPOINT_METADATA"}, "its entry a is a run", training.StandardNameFormat{Prefix: "step"}},
		"runs called by number": {[]string{"1/100/_CHECKPOINT_METADATA", "2/50/_CHECKPOINT_METADATA"}, "its entries 1, 2 are runs", nil},
		"old runs":              {[]string{"a/100/default/_METADATA", "b/7/_METADATA"}, "its entries a, b are runs", nil},
		"beside logs":           {[]string{"logs/2024/events", "checkpoints/5/_CHECKPOINT_METADATA", "train.py"}, "its entry checkpoints is a run", nil},
		"with unfinished":       {[]string{"a/1/notes", "a/2/_CHECKPOINT_METADATA", "a/3/notes", "a/4.orbax-checkpoint-tmp-5/x"}, "its entry a is a run", nil},
		"odd name":              {[]string{"a\x1b[2J/1/_CHECKPOINT_METADATA"}, `its entry "a\x1b[2J" is a run`, nil},
		"many":                  {many, "run10, run11, run12, run13, run14, run15, run16, run17 … (32 in all) are runs", nil},

		"empty":                   {nil, "", nil},
		"a step, and a run":       {[]string{"3/_CHECKPOINT_METADATA", "3/commit_success.txt", "a/1/_CHECKPOINT_METADATA"}, "", nil},
		"metadata, and a run":     {[]string{"metadata/_ROOT_METADATA", "a/1/_CHECKPOINT_METADATA"}, "", nil},
		"old metadata, and a run": {[]string{"metadata/metadata", "a/1/_CHECKPOINT_METADATA"}, "", nil},
		"a save, and a run":       {[]string{"3.orbax-checkpoint-tmp-9/x", "a/1/_CHECKPOINT_METADATA"}, "", nil},
		"a checkpoint":            {[]string{"best/_CHECKPOINT_METADATA", "best/layer_1/_METADATA", "best/2/_METADATA"}, "", nil},
		"an old checkpoint":       {[]string{"best/params/_METADATA", "best/opt/_METADATA"}, "", nil},
		"a damaged step":          {[]string{"5/ema_1/_METADATA", "5/2/_METADATA"}, "", nil},
		"foreign":                 {[]string{"data/train_0/zarr.json", "out/checkpoint-500/model.safetensors", "tf/1/checkpoint", "logs/v1/e", "a.txt"}, "", nil},
		"deeper":                  {[]string{"old/runs/1/_CHECKPOINT_METADATA", "old/runs/2/_CHECKPOINT_METADATA"}, "", nil},
		"a session":               {[]string{"x.partial_save/1.pending_1/_CHECKPOINT_METADATA", "x.partial_save/a1/_METADATA"}, "", nil},
		"a run's temporary":       {[]string{"x.orbax-checkpoint-tmp-9/1/_CHECKPOINT_METADATA"}, "", nil},
	} {
		root := t.TempDir()
		plant(t, root, c.files...)
		before, err := os.ReadDir(root)
		if err != nil {
			t.Fatal(err)
		}
		o := training.Options{StepNameFormat: c.format, CustomMetadata: map[string]any{"a": 1}}
		ckpts, newErr := training.New(t.Context(), root, o)
		if newErr == nil {
			ckpts.Close()
		}
		_, latestErr := training.Latest(t.Context(), root, training.ReadOptions{StepNameFormat: c.format})
		_, stepsErr := training.Steps(t.Context(), root, training.ReadOptions{StepNameFormat: c.format})
		if c.says == "" {
			if newErr != nil || strings.Contains(fmt.Sprint(latestErr, stepsErr), " run") {
				t.Errorf("%s: New %v, Latest %v, Steps %v", name, newErr, latestErr, stepsErr)
			}
			continue
		}
		var watchErr error
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		for _, watchErr = range training.Watch(ctx, root, training.ReadOptions{StepNameFormat: c.format}) {
			break
		}
		cancel()
		var ours *training.Error
		if !errors.Is(newErr, orbax.ErrInvalidCheckpoint) || errors.Is(newErr, orbax.ErrNotExist) || !errors.As(newErr, &ours) || !strings.Contains(newErr.Error(), c.says) {
			t.Errorf("%s: New: %v, want %s", name, newErr, c.says)
		}
		for what, err := range map[string]error{"Latest": latestErr, "Steps": stepsErr, "Watch": watchErr} {
			if !errors.Is(err, orbax.ErrNotExist) || errors.Is(err, orbax.ErrInvalidCheckpoint) || !errors.As(err, &ours) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %s: %v, want %s", name, what, err, c.says)
			}
		}
		if after, err := os.ReadDir(root); err != nil || len(after) != len(before) {
			t.Errorf("%s: New left %v, %v", name, after, err)
		}
		o.RunsInside = true
		if ckpts, err = training.New(t.Context(), root, o); err != nil {
			t.Errorf("%s: New with RunsInside: %v", name, err)
			continue
		}
		if _, err := ckpts.Resume(t.Context(), new(any)); !errors.Is(err, orbax.ErrNotExist) && c.files[0] != "1/100/_CHECKPOINT_METADATA" {
			t.Errorf("%s: Resume with RunsInside: %v", name, err)
		}
		ckpts.Close()
	}
}

// TestDirectoryOfRunsIsCheap counts the looks at a large directory that is no run.
func TestDirectoryOfRunsIsCheap(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for i := range 100 {
		for j := range 30 {
			if err := os.MkdirAll(filepath.Join(root, fmt.Sprintf("d%dx", i), fmt.Sprint("s", j), "item"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	lists, stats := 0, 0
	h := &hooks{listed: func(string) { lists++ }, stat: func(string) { stats++ }}
	c, err := training.New(t.Context(), filepath.ToSlash(root), training.Options{Store: h.store()})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	// Each of 32 directories is listed, and 6 in it, of which two documents are looked for
	// and one in the directory there.
	if lists > 32*7+20 || stats > 32*6*3+50 {
		t.Errorf("%d listings and %d looks", lists, stats)
	}
}
