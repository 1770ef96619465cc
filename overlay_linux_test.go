package orbax_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
)

// overlay mounts an overlay file system over what lower has made.
func overlay(t *testing.T, lower func(dir string), options string) string {
	t.Helper()
	top := t.TempDir()
	in := func(name string) string { return filepath.Join(top, name) }
	for _, name := range []string{"layers", "merged"} {
		must(t, os.Mkdir(in(name), 0o777))
	}
	// An overlay cannot lie on another one, which the directory of the test may be on.
	if err := unix.Mount("tmpfs", in("layers"), "tmpfs", 0, ""); err != nil {
		t.Skip("this needs the right to mount: ", err)
	}
	t.Cleanup(func() { unix.Unmount(in("layers"), unix.MNT_DETACH) })
	for _, name := range []string{"lower", "upper", "work"} {
		must(t, os.Mkdir(in("layers/"+name), 0o777))
	}
	lower(in("layers/lower"))
	options += "lowerdir=" + in("layers/lower") + ",upperdir=" + in("layers/upper") + ",workdir=" + in("layers/work")
	if err := unix.Mount("overlay", in("merged"), "overlay", 0, options); err != nil {
		t.Skip("this needs overlayfs: ", err)
	}
	t.Cleanup(func() { unix.Unmount(in("merged"), unix.MNT_DETACH) })
	return in("merged")
}

// notWritten fails the test if it is written.
type notWritten struct{ t *testing.T }

func (n notWritten) SaveState(context.Context) (handler.WriteFunc, error) {
	return func(context.Context, *handler.WriteDir) error {
		n.t.Error("the save was begun")
		return nil
	}, nil
}

func (notWritten) LoadState(context.Context, *handler.ReadDir) error { return nil }

// A checkpoint of a container's image cannot be renamed. To overwrite it is refused
// before anything is written; it can be deleted, and saved anew.
func TestOverwriteOnOverlay(t *testing.T) {
	ctx := t.Context()
	dir := overlay(t, func(lower string) { saveTwo(t, filepath.Join(lower, "run", "ck")) }, "redirect_dir=off,")
	path := filepath.Join(dir, "run", "ck")
	before := snapshotDir(t, dir)
	err := orbax.SaveCheckpointables(ctx, path, map[string]any{"state": map[string]any{"a": 2}, "it": notWritten{t}}, orbax.Overwrite())
	if !errors.Is(err, orbax.ErrUnsupported) || !strings.Contains(err.Error(), "lower layer") {
		t.Errorf("got %v", err)
	}
	if after := snapshotDir(t, dir); strings.Join(before, "\n") != strings.Join(after, "\n") {
		t.Errorf("before %q, after %q", before, after)
	}
	must(t, orbax.Verify(ctx, path))
	must(t, orbax.Delete(ctx, path))
	for v := range 3 { // what is made above the image can be replaced
		must(t, orbax.Save(ctx, path, map[string]any{"a": v}, orbax.Overwrite()))
		if got, err := orbax.LoadAs[map[string]int](ctx, path); err != nil || got["a"] != v {
			t.Errorf("%v, %v", got, err)
		}
	}
	onlyTemporary(t, filepath.Dir(path), "ck")
	if left := unfinished(t, filepath.Dir(path)); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

// Where overlayfs can redirect directories they are replaced as everywhere.
func TestOverwriteOnOverlayWithRedirects(t *testing.T) {
	dir := overlay(t, func(lower string) { saveTwo(t, filepath.Join(lower, "ck")) }, "redirect_dir=on,")
	path := filepath.Join(dir, "ck")
	must(t, orbax.Save(t.Context(), path, map[string]any{"a": 2}, orbax.Overwrite()))
	if got, err := orbax.LoadAs[map[string]int](t.Context(), path); err != nil || got["a"] != 2 {
		t.Errorf("%v, %v", got, err)
	}
	if left := unfinished(t, dir); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

// A file that is not a checkpoint's keeps a checkpoint that can only be removed in place.
func TestDeleteOnOverlayKeepsOthers(t *testing.T) {
	dir := overlay(t, func(lower string) {
		saveTwo(t, filepath.Join(lower, "ck"))
		writeFile(t, filepath.Join(lower, "ck", "state", "notes.txt"), "mine")
	}, "redirect_dir=off,")
	if err := orbax.Delete(t.Context(), filepath.Join(dir, "ck")); !errors.Is(err, orbax.ErrInvalidCheckpoint) {
		t.Error(err)
	}
	must(t, orbax.Verify(t.Context(), filepath.Join(dir, "ck")))
}
