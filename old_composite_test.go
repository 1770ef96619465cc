package orbax_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
)

// putOld copies the checkpoint at name in a directory that an old release of Orbax wrote.
func putOld(t *testing.T, row, name, to string) {
	t.Helper()
	files, err := fs.Sub(unzip(t, row), name)
	must(t, err)
	must(t, os.CopyFS(to, files))
}

// Several old checkpoints in one directory are not removed as if they were one.
func TestSeveralOldCheckpoints(t *testing.T) {
	for _, dirName := range []string{"experiments", "run2", "v1.0"} {
		dir := filepath.Join(t.TempDir(), dirName)
		putOld(t, "orbax_0_4_4_aggregated", "ckpt", filepath.Join(dir, "exp1"))
		putOld(t, "v0_old_flat", "ckpt", filepath.Join(dir, "exp2"))
		for what, err := range map[string]error{
			"Delete":    orbax.Delete(t.Context(), dir),
			"Overwrite": orbax.Save(t.Context(), dir, map[string]any{"a": 1}, orbax.Overwrite()),
		} {
			if !errors.Is(err, orbax.ErrInvalidCheckpoint) || !strings.Contains(err.Error(), `"exp1", "exp2"; delete each`) {
				t.Errorf("%s of %s gives %v", what, dirName, err)
			}
		}
		must(t, orbax.Delete(t.Context(), filepath.Join(dir, "exp1")))
		if err := orbax.Delete(t.Context(), dir); !errors.Is(err, orbax.ErrInvalidCheckpoint) {
			t.Errorf("Delete of %s with one left gives %v", dirName, err)
		}
		must(t, orbax.Delete(t.Context(), filepath.Join(dir, "exp2")))
	}
}

// The steps of old managers go as a whole.
func TestDeleteOldStep(t *testing.T) {
	for row, name := range map[string]string{"orbax_0_4_4_manager": "run/2", "v0_old_composite": "run/step_000042"} {
		step := filepath.Join(t.TempDir(), filepath.Base(name))
		putOld(t, row, name, step)
		must(t, orbax.Delete(t.Context(), step))
		if _, err := os.Stat(step); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", row, err)
		}
	}
}

// An undamaged step of an old manager is replaced, too.
func TestOverwriteOldStep(t *testing.T) {
	for row, name := range map[string]string{"orbax_0_4_4_manager": "run/2", "v0_old_composite": "run/step_000042"} {
		step := filepath.Join(t.TempDir(), filepath.Base(name))
		putOld(t, row, name, step)
		if err := orbax.Save(t.Context(), step, map[string]any{"a": 1}); !errors.Is(err, orbax.ErrExist) {
			t.Errorf("%s: Save without Overwrite gives %v", row, err)
		}
		must(t, orbax.Save(t.Context(), step, map[string]any{"a": 1}, orbax.Overwrite()))
		if state, err := orbax.Load(t.Context(), step); err != nil || state.(map[string]any)["a"] != 1 {
			t.Errorf("%s: %v, %v", row, state, err)
		}
	}
}

// The hint for a directory of many checkpoints names the newest by its number.
func TestHintIsNewestByNumber(t *testing.T) {
	dir := t.TempDir()
	for _, step := range []string{"50", "60", "70", "80", "90", "100", "200", "250", "9"} {
		must(t, orbax.Save(t.Context(), filepath.Join(dir, step), map[string]any{"a": 1}))
	}
	if _, err := orbax.Load(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "that of 250 in it") {
		t.Error(err)
	}
}
