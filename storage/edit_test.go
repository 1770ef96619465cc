package storage_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

func edit(t *testing.T, dir string) (storage.Edit, error) {
	t.Helper()
	e, err := storage.Local().Edit(t.Context(), filepath.ToSlash(dir))
	if err == nil {
		t.Cleanup(func() { e.Close() })
	}
	return e, err
}

func TestEdit(t *testing.T) {
	ctx, top := t.Context(), t.TempDir()
	dir := filepath.Join(top, "ck")
	must(t, os.MkdirAll(filepath.Join(dir, "part", "deep"), 0o777))
	must(t, os.WriteFile(filepath.Join(dir, "part", "deep", "f"), nil, 0o666))
	e, err := edit(t, dir+"/")
	must(t, err)
	content := func(want string) {
		t.Helper()
		if b, err := os.ReadFile(filepath.Join(dir, "doc")); err != nil || string(b) != want {
			t.Errorf("%q, %v; want %q", b, err, want)
		}
	}
	must(t, e.Put(ctx, "doc", []byte("one"), false))
	content("one")
	if err := e.Put(ctx, "doc", []byte("two"), false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Put of what exists: %v", err)
	}
	content("one")
	must(t, e.Put(ctx, "doc", []byte("three"), true))
	content("three")
	must(t, e.Put(ctx, "doc", nil, true))
	content("")
	for range 2 {
		must(t, e.Remove(ctx, "part", storage.Everything))
	}
	for _, name := range []string{".", "..", "../x", "/x", "", "a/../../x"} {
		if err := e.Remove(ctx, name, storage.Everything); !errors.Is(err, fault.ErrReservedName) {
			t.Errorf("Remove %q: %v", name, err)
		}
		if err := e.Put(ctx, name, nil, true); err == nil {
			t.Errorf("Put %q succeeded", name)
		}
	}
	if got := names(t, dir); !slices.Equal(got, []string{"doc"}) {
		t.Errorf("left %q", got)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_, err = storage.Local().Edit(gone, filepath.ToSlash(dir))
	for _, err := range []error{err, e.Put(gone, "x", nil, true), e.Remove(gone, "doc", nil), e.RemoveAll(gone, storage.Everything)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
	must(t, e.RemoveAll(ctx, storage.Everything, "doc"))
	must(t, e.Close())
	if got := names(t, top); len(got) > 0 {
		t.Errorf("left %q", got)
	}
}

func TestEditRefuses(t *testing.T) {
	top := t.TempDir()
	in := func(name string) string { return filepath.Join(top, name) }
	must(t, os.Mkdir(in("real"), 0o777))
	must(t, os.WriteFile(in("file"), nil, 0o666))
	must(t, os.Symlink("real", in("link")))
	must(t, os.Symlink("none", in("dangling")))
	for name, want := range map[string]error{
		"none":     fs.ErrNotExist,
		"file":     fault.ErrInvalidCheckpoint,
		"link":     fault.ErrInvalidCheckpoint,
		"dangling": fault.ErrInvalidCheckpoint,
	} {
		if _, err := edit(t, in(name)); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := names(t, top); len(got) != 4 {
		t.Errorf("left %q", got)
	}
}

// A directory that is removed before the claim is made cannot be edited.
func TestEditOfWhatIsGone(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "ck")
	must(t, os.Mkdir(dir, 0o777))
	r := &storage.Recorder{Before: func(op storage.Op) error {
		if op.Kind == "lock" {
			return os.Remove(dir)
		}
		return nil
	}}
	if _, err := r.Store().Edit(t.Context(), filepath.ToSlash(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if got := names(t, top); len(got) > 0 {
		t.Errorf("left %q", got)
	}
}

// Of writers and editors of a directory there is one at a time.
func TestEditIsAlone(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "ck")
	must(t, os.Mkdir(dir, 0o777))
	stage, err := begin(t, dir, true)
	must(t, err)
	if _, err := edit(t, dir); !errors.Is(err, fault.ErrBusy) {
		t.Errorf("beside a writer: %v", err)
	}
	live := filepath.Join(top, temporary(t, top)[0])
	if _, err := edit(t, live); !errors.Is(err, fault.ErrBusy) {
		t.Errorf("where a writer writes: %v", err)
	}
	must(t, stage.Abort())
	e, err := edit(t, dir)
	must(t, err)
	if _, err := edit(t, dir); !errors.Is(err, fault.ErrBusy) {
		t.Errorf("beside an editor: %v", err)
	}
	if _, err := begin(t, dir, true); !errors.Is(err, fault.ErrBusy) {
		t.Errorf("writer beside an editor: %v", err)
	}
	must(t, e.Close())
	// The temporary directory of a dead writer, or of its editor, prevents no save.
	dead := dir + storage.TempMarker + "-0123456789abcdef"
	must(t, os.Mkdir(dead, 0o777))
	e, err = edit(t, dead)
	must(t, err)
	stage, err = begin(t, dir, true)
	must(t, err)
	must(t, e.RemoveAll(t.Context(), storage.Everything))
	must(t, stage.Abort())
	if got := names(t, top); !slices.Equal(got, []string{"ck"}) {
		t.Errorf("left %s", strings.Join(got, ", "))
	}
}
