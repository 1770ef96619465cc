package storage_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

func TestRoom(t *testing.T) {
	store := storage.Local()
	dir := filepath.ToSlash(t.TempDir())
	must(t, os.WriteFile(dir+"/f", nil, 0o666))
	for _, name := range []string{dir, dir + "/ck", dir + "/a/b/c/ck", dir + "/f", dir + "/../" + path.Base(dir) + "/x", "/"} {
		n, err := store.Room(t.Context(), name)
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skip(err)
		}
		if err != nil || n <= 0 {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	if n, err := store.Room(t.Context(), dir+"/f/ck"); err == nil {
		t.Errorf("below a file there is room for %d", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := store.Room(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("it left %q", got)
	}
}

// However the system says that a disk is full, and whatever is done then.
func TestNoSpace(t *testing.T) {
	for _, errno := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		for _, kind := range []string{"mkdir", "create", "allocate", "write", "truncate", "sync", "syncdir", "rename"} {
			r := &storage.Recorder{}
			hit := false
			r.Before = func(op storage.Op) error {
				if op.Kind == kind {
					hit = true
					return &os.PathError{Op: kind, Path: op.Name, Err: errno}
				}
				return nil
			}
			dir := filepath.ToSlash(t.TempDir())
			err := func() error {
				s, err := r.Store().Begin(t.Context(), dir+"/ck", storage.BeginOptions{})
				if err != nil {
					return err
				}
				defer s.Abort()
				w, err := s.Create(t.Context(), "d/f", 2<<20)
				if err != nil {
					return err
				}
				err = w.WriteAt(t.Context(), []byte("x"), 0)
				if err := errors.Join(err, w.Close()); err != nil {
					return err
				}
				return s.Commit(t.Context())
			}()
			if !hit || !errors.Is(err, fault.ErrNoSpace) || !errors.Is(err, errno) {
				t.Errorf("%v from %s: %v", errno, kind, err)
			}
			if n := strings.Count(err.Error(), fault.ErrNoSpace.Error()); n != 1 {
				t.Errorf("%v from %s says so %d times: %v", errno, kind, n, err)
			}
			if got := names(t, dir); len(got) > 0 {
				t.Errorf("%v from %s left %q", errno, kind, got)
			}
		}
	}
}

// A file that cannot have its room is not there, and takes nothing.
func TestCreateTooLarge(t *testing.T) {
	s, dir := newStage(t, storage.Local())
	room, err := storage.Local().Room(t.Context(), dir)
	if err != nil || room > math.MaxInt64/2 {
		t.Skip(room, err)
	}
	w, err := s.Create(t.Context(), "f", math.MaxInt64)
	if err == nil { // this file system cannot set room aside
		t.Skip(w.Close())
	}
	if !errors.Is(err, fault.ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	w, err = s.Create(t.Context(), "f", 1)
	must(t, err)
	must(t, w.Close())
}

// A file ends where the last byte was written, whatever was announced.
func TestTrim(t *testing.T) {
	for _, tc := range []struct {
		size, off int64
		n         int
		want      int64
	}{
		{8 << 20, 0, 3 << 20, 3 << 20}, {8 << 20, 4096, 5, 4101}, {8 << 20, 0, 0, 0}, {8 << 20, 0, 8 << 20, 8 << 20},
		{2 << 20, 1 << 20, 2 << 20, 3 << 20}, {100, 0, 5, 5}, {-1, 0, 5, 5},
	} {
		s, dir := newStage(t, storage.Local())
		w, err := s.Create(t.Context(), "f", tc.size)
		must(t, err)
		data := pages(tc.n, 0)
		must(t, w.WriteAt(t.Context(), data[:tc.n/3], tc.off))
		must(t, w.WriteAt(t.Context(), data[tc.n/3:], tc.off+int64(tc.n/3)))
		must(t, w.Close())
		must(t, s.Commit(t.Context()))
		got, err := os.ReadFile(dir + "/f")
		must(t, err)
		if int64(len(got)) != tc.want || string(got[min(tc.off, tc.want):]) != string(data) {
			t.Errorf("%+v: %d bytes", tc, len(got))
		}
	}
}
