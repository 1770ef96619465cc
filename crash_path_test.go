package orbax_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-orbax/orbax"
)

// What is at the path already is refused, and not touched.
func TestSaveOverSomething(t *testing.T) {
	for name, tc := range map[string]struct {
		make    func(path string) error
		refused error // by a save with Overwrite; nil if it is done
	}{
		"file":      {func(p string) error { return os.WriteFile(p, []byte("mine"), 0o666) }, orbax.ErrInvalidCheckpoint},
		"empty dir": {func(p string) error { return os.Mkdir(p, 0o777) }, nil},
		"full dir": {func(p string) error {
			return errors.Join(os.Mkdir(p, 0o777), os.WriteFile(filepath.Join(p, "mine"), []byte("mine"), 0o666))
		}, orbax.ErrInvalidCheckpoint},
		"dir of steps": {func(p string) error {
			return orbax.Save(context.Background(), filepath.Join(p, "1"), map[string]any{"a": 1})
		}, orbax.ErrInvalidCheckpoint},
		"link to a checkpoint": {func(p string) error {
			real := filepath.Join(filepath.Dir(filepath.Dir(p)), "real")
			return errors.Join(orbax.Save(context.Background(), real, map[string]any{"a": 1}), os.Symlink(real, p))
		}, orbax.ErrInvalidCheckpoint},
		"dangling link": {func(p string) error { return os.Symlink("nowhere", p) }, orbax.ErrInvalidCheckpoint},
		"checkpoint": {func(p string) error {
			return orbax.Save(context.Background(), p, map[string]any{"a": 1})
		}, nil},
		"damaged checkpoint": {func(p string) error {
			return errors.Join(orbax.Save(context.Background(), p, map[string]any{"a": 1}),
				os.WriteFile(filepath.Join(p, "_CHECKPOINT_METADATA"), []byte("{"), 0o666))
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			parent := filepath.Join(t.TempDir(), "parent")
			path := filepath.Join(parent, "ck")
			if err := errors.Join(os.Mkdir(parent, 0o777), tc.make(path)); err != nil {
				t.Fatal(err)
			}
			before := snapshotDir(t, filepath.Dir(parent))
			err := orbax.Save(t.Context(), path, map[string]any{"a": 2})
			if !errors.Is(err, orbax.ErrExist) || !errors.Is(err, fs.ErrExist) {
				t.Errorf("without Overwrite: %v", err)
			}
			if _, err := orbax.SaveAsync(t.Context(), path, map[string]any{"a": 2}); !errors.Is(err, orbax.ErrExist) {
				t.Errorf("SaveAsync: %v", err)
			}
			if tc.refused != nil {
				err := orbax.Save(t.Context(), path, map[string]any{"a": 2}, orbax.Overwrite())
				if !errors.Is(err, tc.refused) {
					t.Errorf("with Overwrite: %v", err)
				}
			}
			if after := snapshotDir(t, filepath.Dir(parent)); !slices.Equal(before, after) {
				t.Errorf("before %q, after %q", before, after)
			}
			if tc.refused == nil {
				if err := orbax.Save(t.Context(), path, map[string]any{"a": 2}, orbax.Overwrite()); err != nil {
					t.Errorf("with Overwrite: %v", err)
				}
				if got, err := orbax.LoadAs[map[string]int](t.Context(), path); err != nil || got["a"] != 2 {
					t.Errorf("loaded %v, %v", got, err)
				}
				onlyTemporary(t, parent, "ck")
				if left := unfinished(t, parent); len(left) > 0 {
					t.Errorf("left %q", left)
				}
			}
		})
	}
}

// snapshotDir lists everything below dir with its contents.
func snapshotDir(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		line := fmt.Sprint(path, " ", d.Type())
		if d.Type().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += " " + string(b)
		}
		all = append(all, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestBusyPath(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ck")
	held, resp, err := hold(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := orbax.Save(t.Context(), path, map[string]any{"a": 1}); !errors.Is(err, orbax.ErrBusy) {
		t.Errorf("Save: %v", err)
	}
	if _, err := orbax.SaveAsync(t.Context(), path+"/", map[string]any{"a": 1}, orbax.Overwrite()); !errors.Is(err, orbax.ErrBusy) {
		t.Errorf("SaveAsync: %v", err)
	}
	// Other paths, also such as begin with the same letters, are free.
	for _, other := range []string{"c", "ck2", "ck.x", "sub/ck"} {
		if err := orbax.Save(t.Context(), filepath.Join(dir, other), map[string]any{"a": 1}); err != nil {
			t.Error(err)
		}
	}
	wantVersion(t, path, 0)
	close(held.release)
	if err := resp.Result(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantVersion(t, path, 9)
	if err := orbax.Save(t.Context(), path, crashState(1)); !errors.Is(err, orbax.ErrExist) {
		t.Errorf("after the first: %v", err)
	}
	onlyTemporary(t, dir, "c", "ck", "ck.x", "ck2", "sub")
}

func TestSaveSideBySide(t *testing.T) {
	dir := t.TempDir()
	var group sync.WaitGroup
	for v := 1; v <= 8; v++ {
		group.Go(func() {
			if err := orbax.Save(t.Context(), filepath.Join(dir, "new", fmt.Sprint(v)), crashState(v)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for v := 1; v <= 8; v++ {
		wantVersion(t, filepath.Join(dir, "new", fmt.Sprint(v)), v)
	}
	if left := unfinished(t, filepath.Join(dir, "new")); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

func TestSaveCancelled(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ck")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := orbax.Save(ctx, path, crashState(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	for version := range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		_, resp, err := hold(ctx, path, orbax.Overwrite())
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := resp.Result(t.Context()); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled while it writes: %v", err)
		}
		wantVersion(t, path, version)
		if left := unfinished(t, dir); len(left) > 0 {
			t.Errorf("left %q", left)
		}
		if err := orbax.Save(t.Context(), path, crashState(1), orbax.Overwrite()); err != nil {
			t.Error(err)
		}
	}
}

func TestSavePaths(t *testing.T) {
	top := t.TempDir()
	t.Chdir(top)
	if err := os.WriteFile("file", nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"relative":                           "relative",
		"slash/":                             "slash",
		"./dots/../up//double":               "up/double",
		"missing/parents/of/it":              "missing/parents/of/it",
		filepath.Join(top, "abs") + "/":      "abs",
		"späte päthe/with spaces\tand\ntabs": "späte päthe/with spaces\tand\ntabs",
		strings.Repeat("n", 200):             strings.Repeat("n", 200),
	} {
		if err := orbax.Save(t.Context(), path, crashState(3)); err != nil {
			t.Errorf("%q: %v", path, err)
			continue
		}
		wantVersion(t, path, 3)
		wantVersion(t, filepath.Join(top, want), 3)
	}
	for _, path := range []string{"", "file/ck", "nul\x00byte", strings.Repeat("n", 256),
		"ck.orbax-checkpoint-tmp", "nosuch://bucket/ck", "/", "."} {
		var oerr *orbax.Error
		err := orbax.Save(t.Context(), path, crashState(3))
		if !errors.As(err, &oerr) || oerr.Op != "save" || oerr.Path != path {
			t.Errorf("%q: %v", path, err)
		}
	}
	if left := unfinished(t, "."); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}
