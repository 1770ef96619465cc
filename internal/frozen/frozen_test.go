package frozen_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/frozen"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
)

var must = orbaxtest.Must

// What the listing has is there or an error, and what it has not is not there.
func TestStore(t *testing.T) {
	ctx := t.Context()
	dir := filepath.ToSlash(t.TempDir())
	must(t, os.MkdirAll(dir+"/a/b", 0o777))
	must(t, os.WriteFile(dir+"/a/b/file", []byte("12"), 0o666))
	must(t, os.WriteFile(dir+"/a/other", []byte("1"), 0o666))
	must(t, os.WriteFile(dir+"/outside", []byte("1"), 0o666))
	s, err := frozen.New(ctx, storage.At(storage.Local(), dir+"/a"))
	must(t, err)
	must(t, s.Unchanged(ctx))
	read := func(name string) error {
		r, err := s.Open(ctx, dir+"/"+name)
		if err == nil {
			r.Close()
		}
		return err
	}
	must(t, read("a/b/file"))
	must(t, read("outside"))
	info, err := s.Stat(ctx, dir+"/a/b/file")
	if err != nil || info.Size != 2 || info.Dir {
		t.Errorf("%+v, %v", info, err)
	}
	if infos, err := s.List(ctx, dir+"/a"); err != nil || len(infos) != 2 || infos[0].Name != "b" || !infos[0].Dir {
		t.Errorf("got %+v, %v; want two of which the first is the directory b", infos, err)
	}
	for _, err := range []error{read("a/none"), read("none"), func() error { _, err := s.Stat(ctx, dir+"/a/none"); return err }(),
		func() error { _, err := s.List(ctx, dir+"/a/b/file"); return err }()} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what was not there: %v", err)
		}
	}

	must(t, os.Remove(dir+"/a/b/file"))
	if err := read("a/b/file"); !errors.Is(err, fault.ErrBusy) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is gone: %v", err)
	}
	must(t, os.WriteFile(dir+"/a/b/file", []byte("123"), 0o666))
	if err := read("a/b/file"); !errors.Is(err, fault.ErrBusy) {
		t.Errorf("what has grown: %v", err)
	}
	must(t, os.WriteFile(dir+"/a/new", nil, 0o666))
	if err := read("a/new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what came later: %v", err)
	}
	if err := s.Unchanged(ctx); !errors.Is(err, fault.ErrBusy) {
		t.Errorf("after changes: %v", err)
	}
	if _, err := frozen.New(ctx, storage.At(storage.Local(), dir+"/none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// noTimes does not know when anything was changed.
type noTimes struct{ storage.Store }

func (s noTimes) List(ctx context.Context, dir string) ([]storage.Info, error) {
	infos, err := s.Store.List(ctx, dir)
	for i := range infos {
		infos[i].ModTime = time.Time{}
	}
	return infos, err
}

// A file that was written anew with as many bytes has changed, whether or not the store
// knows when.
func TestRewritten(t *testing.T) {
	ctx := t.Context()
	for name, store := range map[string]storage.Store{"times": mem.New(), "no times": noTimes{mem.New()}} {
		stage, err := store.Begin(ctx, "a", storage.BeginOptions{})
		must(t, err)
		must(t, transfer.WriteFile(ctx, stage, "file", []byte("one")))
		must(t, stage.Commit(ctx))
		s, err := frozen.New(ctx, storage.At(store, "a"))
		must(t, err)
		must(t, s.Unchanged(ctx))
		edit, err := store.Edit(ctx, "a")
		must(t, err)
		must(t, edit.Put(ctx, "file", []byte("two"), true))
		must(t, edit.Close())
		if err := s.Unchanged(ctx); !errors.Is(err, fault.ErrBusy) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
