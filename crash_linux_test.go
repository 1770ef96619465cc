package orbax_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/zarr"
)

func init() {
	// limit saves more than the process may write to one file.
	children["limit"] = func(path string) error {
		signal.Ignore(syscall.SIGXFSZ)
		limit := syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			return err
		}
		if err := orbax.Save(context.Background(), path, crashState(2), orbax.Overwrite()); !errors.Is(err, syscall.EFBIG) {
			return fmt.Errorf("limited save: %v", err)
		}
		return nil
	}
}

func TestWriteFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for version := range 2 {
		path := filepath.Join(dir, "ck")
		if version > 0 {
			if err := orbax.Save(t.Context(), path, crashState(version)); err != nil {
				t.Fatal(err)
			}
		}
		if code := startChild(t, "limit", path).wait(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		wantVersion(t, path, version)
		if left := unfinished(t, dir); len(left) > 0 {
			t.Errorf("left %q", left)
		}
	}
}

// mountMemory makes a new file system in memory, with room for one crashState.
func mountMemory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=3m"); err != nil {
		t.Skipf("cannot mount: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := mountMemory(t)
	path := filepath.Join(dir, "ck")
	if err := orbax.Save(t.Context(), path, crashState(1)); err != nil {
		t.Fatal(err)
	}
	// What compression leaves is not known before: that save fails on the way.
	noise := make([]byte, 2<<20)
	rand.NewChaCha8([32]byte{}).Read(noise)
	var compressed handler.StorageOptions
	compressed.Compression = zarr.Zstd(1)
	for _, p := range []string{path, filepath.Join(dir, "other")} {
		var s orbax.Stats
		err := orbax.Save(t.Context(), p, crashState(2), orbax.Overwrite(), orbax.Report(&s))
		if !errors.Is(err, orbax.ErrNoSpace) || s.Files > 0 || s.Phase != orbax.PhaseDone {
			t.Errorf("%s: %v, after %+v", p, err, s)
		}
		err = orbax.Save(t.Context(), p, map[string]any{"noise": array.Of(noise)}, orbax.Overwrite(),
			orbax.Storage(compressed), orbax.Report(&s))
		if !errors.Is(err, orbax.ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) || s.Files == 0 {
			t.Errorf("%s: %v, after %+v", p, err, s)
		}
	}
	wantVersion(t, path, 1)
	onlyTemporary(t, dir, "ck")
	if left := unfinished(t, dir); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

func TestReadOnlyParent(t *testing.T) {
	t.Parallel()
	var dir string
	if os.Geteuid() == 0 { // whom permissions do not stop
		dir = mountMemory(t)
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Skipf("cannot remount: %v", err)
		}
	} else {
		dir = t.TempDir()
		if err := os.Chmod(dir, 0o555); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"ck", "new/ck"} {
		err := orbax.Save(t.Context(), filepath.Join(dir, name), crashState(1))
		if !errors.Is(err, syscall.EROFS) && !errors.Is(err, os.ErrPermission) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left %v, %v", entries, err)
	}
}
