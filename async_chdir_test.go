package orbax_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
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
	for range 20 {
		t.Chdir(filepath.Join(top, "here"))
		save, err := orbax.SaveAsync(t.Context(), "ck", state, orbax.Overwrite())
		if err != nil {
			t.Fatal(err)
		}
		t.Chdir(filepath.Join(top, "there"))
		if err := save.Result(t.Context()); err != nil {
			t.Fatal(err)
		}

		t.Chdir(filepath.Join(top, "here"))
		ck, err := orbax.Open(t.Context(), "ck")
		if err != nil {
			t.Fatal(err)
		}
		target := map[string]int{}
		all := []interface{ Done() <-chan struct{} }{
			orbax.LoadAsync(t.Context(), "ck"),
			orbax.LoadIntoAsync(t.Context(), "ck", &target),
			orbax.LoadCheckpointablesAsync(t.Context(), "ck", nil),
		}
		missing := orbax.LoadAsync(t.Context(), "missing")
		t.Chdir(filepath.Join(top, "there"))
		for _, r := range all {
			<-r.Done()
		}
		_, err1 := all[0].(*orbax.LoadResponse[any]).Result(t.Context())
		_, err2 := all[1].(*orbax.LoadResponse[*map[string]int]).Result(t.Context())
		_, err3 := all[2].(*orbax.LoadResponse[map[string]any]).Result(t.Context())
		_, err4 := ck.Load(t.Context())
		if err := errors.Join(err1, err2, err3, err4, ck.Verify(t.Context()), ck.Close()); err != nil {
			t.Fatal(err)
		}
		_, err = missing.Result(t.Context())
		var e *orbax.Error
		if !errors.As(err, &e) || e.Path != "missing" || !errors.Is(err, orbax.ErrNotExist) {
			t.Fatalf("a missing checkpoint: %v", err)
		}
	}
}
