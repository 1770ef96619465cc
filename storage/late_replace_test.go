package storage_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/savehook"
	"github.com/go-orbax/orbax/storage"
)

// A file that becomes a directory while a checkpoint is removed where it lies stays
// with what is in it.
func TestFileBecomesDirectory(t *testing.T) {
	for _, name := range []string{"_CHECKPOINT_METADATA", "digests.sha256", "opt"} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			saveParts(t, "run/step")
			theirs := filepath.Join("run/step", name, "theirs")
			done := false
			r := deleter(true, func(op storage.Op) error {
				if op.Kind == "remove" && !done {
					done = true
					must(t, os.RemoveAll(filepath.Dir(theirs)))
					must(t, os.Mkdir(filepath.Dir(theirs), 0o777))
					must(t, os.WriteFile(theirs, []byte("x"), 0o666))
				}
				return nil
			})
			err := orbax.Delete(t.Context(), record(t, r)+"run/step")
			if err == nil {
				t.Error("deleted")
			}
			if _, err := os.Stat(theirs); err != nil {
				t.Error(err)
			}
		})
	}
}

// What was unfinished and is completed by its writer at the last moment is not replaced
// by a save that replaces what is unfinished.
func TestCompletedMeanwhile(t *testing.T) {
	for _, tc := range []struct {
		name     string
		complete bool
		exchange bool
	}{{"completed", true, true}, {"completed, no exchange", true, false}, {"unfinished", false, true}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			saveParts(t, "run/step")
			// As a save by marker is, before its end.
			must(t, os.Rename("run/step/commit_success.txt", "mark"))
			must(t, os.WriteFile("run/step/state/commit_success.txt", nil, 0o666))
			r := &storage.Recorder{NoSync: true, NoExchange: !tc.exchange}
			r.Before = func(op storage.Op) error {
				if op.Kind == "exchange" && tc.complete {
					tc.complete = false
					must(t, os.Rename("mark", "run/step/commit_success.txt"))
				}
				return nil
			}
			replace := savehook.StepOption(func(s *savehook.Step) { s.ReplaceUnfinished = true }).(orbax.SaveCheckpointablesOption)
			err := orbax.SaveCheckpointables(t.Context(), record(t, r)+"run/step", map[string]any{"new": sample(2)}, replace)
			switch tc.name {
			case "unfinished":
				must(t, err)
				wantNames(t, "run/step", "new")
			case "completed":
				if !errors.Is(err, orbax.ErrExist) || errors.Is(err, orbax.ErrInPlace) {
					t.Error(err)
				}
				wantNames(t, "run/step", "it", "opt", "state")
			default: // it cannot have its name back, and is kept
				if !errors.Is(err, orbax.ErrExist) || !errors.Is(err, orbax.ErrInPlace) {
					t.Error(err)
				}
				wantNames(t, "run/step", "new")
				left := temporary(t, "run")
				if len(left) != 1 {
					t.Fatalf("left %q", left)
				}
				if _, err := os.Stat(filepath.Join("run", left[0], "commit_success.txt")); err != nil {
					t.Error(err)
				}
				return
			}
			if left := temporary(t, "run"); len(left) > 0 {
				t.Errorf("left %q", left)
			}
		})
	}
}

func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	ck, err := orbax.Open(t.Context(), dir)
	if err != nil {
		t.Error(err)
		return
	}
	defer ck.Close()
	if got := ck.Names(); len(got) != len(want) || got[0] != want[0] {
		t.Errorf("%s has %q, want %q", dir, got, want)
	}
}
