package orbax_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
)

// A program can tell a deletion that is not finished from a checkpoint that another
// one is writing, and finish it.
func TestDeletionInProgress(t *testing.T) {
	ctx := t.Context()
	files, _ := stepFiles(t)
	seen := 0
	for stage, f := range orbaxDeletes(t, files, "cfg") {
		if stage == "finished" {
			continue
		}
		path := filepath.Join(t.TempDir(), "ck")
		for name, data := range f {
			file := filepath.Join(path, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
				t.Fatal(err)
			}
			writeFile(t, file, string(data))
		}
		m, err := orbax.CheckpointablesMetadata(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		if m.Deleting == "" {
			continue // the record is not there yet, or not any more
		}
		seen++
		_, err = orbax.Load(ctx, path, orbax.Name("cfg"))
		if !errors.Is(err, orbax.ErrDeletionInProgress) || !errors.Is(err, orbax.ErrNotExist) {
			t.Errorf("%s: load: %v", stage, err)
		}
		err = orbax.Save(ctx, path, map[string]any{"a": 1}, orbax.Overwrite())
		if !errors.Is(err, orbax.ErrDeletionInProgress) || !errors.Is(err, orbax.ErrBusy) {
			t.Errorf("%s: overwrite: %v", stage, err)
		}
		deleted := true
		err = orbax.Delete(ctx, path, orbax.Name("data"), orbax.Deleted(&deleted))
		if !errors.Is(err, orbax.ErrDeletionInProgress) || deleted {
			t.Errorf("%s: another deletion: %t, %v", stage, deleted, err)
		}
		if err := orbax.Delete(ctx, path, orbax.Name("cfg"), orbax.Deleted(&deleted)); err != nil || !deleted {
			t.Errorf("%s: the same deletion: %t, %v", stage, deleted, err)
		}
	}
	if seen == 0 {
		t.Error("no stage of a deletion has its record")
	}
}

func TestDeleted(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ck")
	saveTwo(t, path)
	for i, want := range []bool{true, false} {
		deleted := !want
		err := orbax.Delete(ctx, path, orbax.MissingOK(), orbax.Deleted(&deleted), orbax.Deleted(nil))
		if err != nil || deleted != want {
			t.Errorf("deletion %d: %t, %v", i, deleted, err)
		}
	}
}
