package orbax_test

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// A nil in a list of options is one that the program leaves out.
func TestNilOptions(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "ck")
	if err := orbax.Save(ctx, path, map[string]any{"a": 1}, nil, orbax.Overwrite(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := orbax.Load(ctx, path, nil); err != nil {
		t.Error(err)
	}
	if err := orbax.Verify(ctx, path, nil); err != nil {
		t.Error(err)
	}
	if _, err := orbax.Repair(ctx, path, nil); err != nil {
		t.Error(err)
	}
	ck, err := orbax.Open(ctx, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	ck.Close()
	if err := orbax.Delete(ctx, path, nil, orbax.MissingOK()); err != nil {
		t.Error(err)
	}
}

// failingStat is a store that fails to look at names that end with what it says.
type failingStat struct {
	storage.Store
	suffix string
	err    error
}

func (s failingStat) Stat(ctx context.Context, name string) (storage.Info, error) {
	if strings.HasSuffix(name, s.suffix) {
		return storage.Info{}, &fs.PathError{Op: "stat", Path: name, Err: s.err}
	}
	return s.Store.Stat(ctx, name)
}

// A look that fails does not say that a path is outside of any checkpoint.
func TestEnclosingFailedLook(t *testing.T) {
	dir := filepath.ToSlash(t.TempDir())
	for err, fails := range map[error]bool{syscall.EIO: true, syscall.ESTALE: true, syscall.ENOENT: false, syscall.ENOTDIR: false, syscall.EACCES: false} {
		_, _, got := layout.Enclosing(t.Context(), storage.At(failingStat{storage.Local(), layout.CheckpointFile, err}, dir+"/ck/inside"))
		if (got != nil) != fails || got != nil && !errors.Is(got, err) {
			t.Errorf("with %v: got %v, want an error: %v", err, got, fails)
		}
	}
}
