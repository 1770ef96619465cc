package training_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/training"
)

// TestRemainsOfACopy resumes a run whose newest step was copied in part. The run must
// be able to save that step, unless the entry holds something else.
func TestRemainsOfACopy(t *testing.T) {
	t.Parallel()
	source := filepath.Join(t.TempDir(), "run")
	c := openRun(t, source, training.Options{})
	mustSave(t, c, 1, 2)
	c.Close()
	step := orbaxtest.ReadFiles(t, filepath.Join(source, "2"))

	// resumed returns the error of saving step 2 where its directory has these files.
	resumed := func(t *testing.T, files map[string][]byte) error {
		t.Helper()
		root := filepath.Join(t.TempDir(), "run")
		orbaxtest.Must(t, os.CopyFS(filepath.Join(root, "1"), os.DirFS(filepath.Join(source, "1"))))
		for name, data := range files {
			file := filepath.Join(root, "2", filepath.FromSlash(name))
			orbaxtest.Must(t, os.MkdirAll(filepath.Dir(file), 0o777))
			orbaxtest.Must(t, os.WriteFile(file, data, 0o666))
		}
		c := openRun(t, root, training.Options{})
		defer c.Close()
		var s runState
		if at, err := c.Resume(t.Context(), &s); at != 1 || err != nil {
			t.Fatalf("resumed %d, %v; want 1", at, err)
		}
		before := orbaxtest.ReadFiles(t, filepath.Join(root, "2"))
		saved, err := c.Save(t.Context(), 2, stateOf(2))
		if err == nil && saved {
			return orbax.Verify(t.Context(), filepath.Join(root, "2"))
		}
		if after := orbaxtest.ReadFiles(t, filepath.Join(root, "2")); len(after) != len(before) {
			t.Errorf("a refused save left %d of %d files", len(after), len(before))
		}
		return err
	}
	var names []string
	for name := range step {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, last := range names {
		half := step[last][:len(step[last])/2]
		for what, files := range map[string]map[string][]byte{"after others": {}, "alone": {}} {
			if what == "after others" {
				for _, name := range names[:i] {
					files[name] = step[name]
				}
			}
			files[last] = half
			t.Run(last+" "+what, func(t *testing.T) {
				err := resumed(t, files)
				if what == "alone" && strings.HasPrefix(last, "state/d/") { // any program may have such a file
					if !errors.Is(err, orbax.ErrInvalidCheckpoint) {
						t.Errorf("got %v, want ErrInvalidCheckpoint", err)
					}
				} else if err != nil {
					t.Error(err)
				}
			})
		}
	}
	half := step["state/_METADATA"][:20]
	for name, files := range map[string]map[string][]byte{
		"notes beside it":        {"state/_METADATA": half, "notes.txt": []byte("mine")},
		"notes in it":            {"state/_METADATA": half, "state/notes.txt": []byte("mine")},
		"another document":       {"state/_METADATA": []byte("mine")},
		"another program's data": {"data.json": []byte(`{"mine": 1}`)},
	} {
		t.Run(name, func(t *testing.T) {
			if err := resumed(t, files); !errors.Is(err, orbax.ErrInvalidCheckpoint) && !errors.Is(err, fs.ErrExist) {
				t.Errorf("got %v, want a refusal", err)
			}
		})
	}
}
