package orbax_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/storage"
)

// A relative path leads to where it led when it was given, also in the background,
// and an open checkpoint stays where it is.
func TestRelativePathsInTheBackground(t *testing.T) {
	top := t.TempDir()
	state := map[string]any{"a": 1}
	for _, dir := range []string{"here", "there"} {
		if err := orbax.Save(t.Context(), filepath.Join(top, dir, "other"), state); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		in := orbax.In(nil)
		if i%2 == 1 {
			in = orbax.In(storage.Local())
		}
		t.Chdir(filepath.Join(top, "here"))
		save, err := orbax.SaveAsync(t.Context(), "ck", state, orbax.Overwrite(), in)
		if err != nil {
			t.Fatal(err)
		}
		t.Chdir(filepath.Join(top, "there"))
		if err := save.Result(t.Context()); err != nil {
			t.Fatal(err)
		}

		t.Chdir(filepath.Join(top, "here"))
		ck, err := orbax.Open(t.Context(), "ck", in)
		if err != nil {
			t.Fatal(err)
		}
		t.Chdir(filepath.Join(top, "there"))
		_, err = ck.Load(t.Context())
		if err := errors.Join(err, ck.Verify(t.Context()), ck.Close()); err != nil {
			t.Fatal(err)
		}
		_, err = orbax.Load(t.Context(), "missing", in)
		var e *orbax.Error
		if !errors.As(err, &e) || e.Path != "missing" || !errors.Is(err, orbax.ErrNotExist) {
			t.Fatalf("a missing checkpoint: %v", err)
		}
	}
}
