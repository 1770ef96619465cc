package interop

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/storage"
)

var errStopped = errors.New("the process is dead")

// stopStore is the local disk of a process that dies while it deletes: after the
// at-th of its steps, from 0. A removal has two, in the first of which one file
// goes.
type stopStore struct {
	storage.Store
	at, step int
}

func (s *stopStore) stop() bool {
	s.step++
	return s.step > s.at
}

func (s *stopStore) Edit(ctx context.Context, dir string) (storage.Edit, error) {
	if s.stop() {
		return nil, errStopped
	}
	edit, err := s.Store.Edit(ctx, dir)
	return &stopEdit{edit, s, dir}, err
}

type stopEdit struct {
	storage.Edit
	store *stopStore
	dir   string
}

func (e *stopEdit) Put(ctx context.Context, name string, data []byte, replace bool) error {
	if e.store.stop() {
		return errStopped
	}
	return e.Edit.Put(ctx, name, data, replace)
}

func (e *stopEdit) Remove(ctx context.Context, name string, look storage.Look) error {
	if e.store.stop() {
		return errStopped
	}
	if err := removeOne(path.Join(e.dir, name)); err != nil {
		return err
	}
	if e.store.stop() {
		return errStopped
	}
	return e.Edit.Remove(ctx, name, look)
}

func (e *stopEdit) RemoveAll(ctx context.Context, look storage.Look, last ...string) error {
	if e.store.stop() {
		return errStopped
	}
	return e.Edit.RemoveAll(ctx, look, last...)
}

// removeOne removes the first file in a directory, if there is one.
func removeOne(dir string) error {
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || name == dir {
			return err
		}
		if err := os.Remove(name); err != nil {
			return err
		}
		return fs.SkipAll
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// deleteStopped deletes in Go until it is stopped, and reports whether it was.
func deleteStopped(t *testing.T, path, name string, at int) bool {
	t.Helper()
	stopping := &stopStore{Store: storage.Local(), at: at}
	options := []orbax.DeleteOption{orbax.In(stopping)}
	if name != "" {
		options = append(options, orbax.Name(name))
	}
	err := orbax.Delete(t.Context(), filepath.ToSlash(path), options...)
	if stopping.step <= at {
		if err != nil {
			t.Fatal(err)
		}
		return false
	}
	if !errors.Is(err, errStopped) {
		t.Fatalf("stopped at step %d: %v", at, err)
	}
	return true
}
