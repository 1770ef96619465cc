package training_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/training"
)

// What cannot be read may be a run, or what makes a directory the root of one: New does
// not begin a run there.
func TestLookThatFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files []string
		fails string
		begun bool // New takes the root nevertheless
	}{
		"listing of a run":        {[]string{"a/100/_CHECKPOINT_METADATA"}, "a", false},
		"listing of its step":     {[]string{"a/100/_CHECKPOINT_METADATA"}, "a/100", false},
		"item of an old step":     {[]string{"a/100/default/_METADATA"}, "a/100/default/_METADATA", false},
		"metadata beside a run":   {[]string{"metadata/_ROOT_METADATA", "a/1/_CHECKPOINT_METADATA"}, "metadata/_ROOT_METADATA", false},
		"one of several runs":     {[]string{"a/100/_CHECKPOINT_METADATA", "b/1/_CHECKPOINT_METADATA"}, "a", false},
		"what is no run":          {[]string{"logs/2024/events"}, "logs", false},
		"beside a step":           {[]string{"7/_CHECKPOINT_METADATA", "7/commit_success.txt", "a/100/_CHECKPOINT_METADATA"}, "a", true},
		"step of another format":  {[]string{"step_7/_CHECKPOINT_METADATA", "step_7/state/_METADATA"}, "step_7", false},
		"what may not be read":    {[]string{"lost+found/x"}, "lost+found", true},
		"what was removed since":  {[]string{"a/100/_CHECKPOINT_METADATA"}, "a", true},
		"a file that is no entry": {[]string{"notes.txt"}, "other", true},
	} {
		root := t.TempDir()
		plant(t, root, c.files...)
		eio := error(&os.PathError{Op: "read", Path: c.fails, Err: syscall.EIO})
		switch {
		case strings.HasPrefix(name, "what may not"):
			eio = os.ErrPermission
		case strings.HasPrefix(name, "what was removed"):
			eio = os.ErrNotExist
		}
		h := &hooks{fail: func(at string) error {
			if at == filepath.ToSlash(filepath.Join(root, c.fails)) {
				return eio
			}
			return nil
		}}
		ckpts, err := training.New(t.Context(), filepath.ToSlash(root), training.Options{Store: h.store()})
		if err == nil {
			ckpts.Close()
		}
		var ours *training.Error
		if c.begun && err != nil || !c.begun && !errors.As(err, &ours) {
			t.Errorf("%s: New: %v", name, err)
		}
		if !c.begun && name != "one of several runs" && !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: New: %v", name, err)
		}
		if _, err := training.Latest(t.Context(), filepath.ToSlash(root), training.ReadOptions{Store: h.store()}); !c.begun && name != "one of several runs" && !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: Latest: %v", name, err)
		}
	}
}

// New and Resume agree on a root without steps that has a checkpoint of another name.
func TestCheckpointOfAnotherName(t *testing.T) {
	t.Parallel()
	for name, refused := range map[string]bool{"model_1": true, "step-000100": true, "model": false, "model_v1_final": false} {
		root := t.TempDir()
		if err := orbax.Save(t.Context(), filepath.Join(root, name), map[string]any{"a": 1}); err != nil {
			t.Fatal(err)
		}
		c, err := training.New(t.Context(), root, training.Options{})
		if refused {
			if !errors.Is(err, orbax.ErrUnsupported) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "set the StepNameFormat") {
				t.Errorf("%s: New: %v", name, err)
			}
			if err := os.Rename(filepath.Join(root, name), filepath.Join(root, "model")); err != nil {
				t.Fatal(err)
			}
			c, err = training.New(t.Context(), root, training.Options{})
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := c.Resume(t.Context(), new(any)); !errors.Is(err, orbax.ErrNotExist) {
			t.Errorf("%s: Resume: %v", name, err)
		}
		mustSave(t, c, 1)
		c.Close()
		// Once there is a step any name may be there.
		if err := orbax.Save(t.Context(), filepath.Join(root, "model_2"), map[string]any{"a": 1}); err != nil {
			t.Fatal(err)
		}
		if c, err = training.New(t.Context(), root, training.Options{}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if n, err := c.Resume(t.Context(), new(runState)); n != 1 || err != nil {
			t.Errorf("%s: Resume: %d, %v", name, n, err)
		}
		c.Close()
	}
}

// The directory of a run's metadata is not the root of one.
func TestRootIsMetadata(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"_ROOT_METADATA", "metadata"} {
		run := t.TempDir()
		plant(t, run, "metadata/"+file)
		root := filepath.Join(run, "metadata")
		_, err := training.New(t.Context(), root, training.Options{})
		_, latestErr := training.Latest(t.Context(), root, training.ReadOptions{})
		for what, err := range map[string]error{"New": err, "Latest": latestErr} {
			if !errors.Is(err, orbax.ErrInvalidCheckpoint) || !strings.Contains(err.Error(), "give that of the run, "+filepath.ToSlash(run)) {
				t.Errorf("%s: %s: %v", file, what, err)
			}
		}
	}
	root := t.TempDir()
	plant(t, root, "metadata") // a file of the user's
	openRun(t, root, training.Options{}).Close()
}
