// Package failstore is a store for tests, in which any operation that changes
// something can be made to fail, or to be the last thing that the process does.
package failstore

import (
	"context"
	"errors"

	"github.com/go-orbax/orbax/storage"
)

// New returns store with before called ahead of every operation that changes
// something; an error takes the operation's place. Several goroutines may call
// it.
func New(store storage.Editor, before func(op, name string) error) storage.Store {
	return &failing{store, before}
}

type failing struct {
	storage.Editor
	before func(op, name string) error
}

func (f *failing) Begin(ctx context.Context, dir string, overwrite bool) (storage.Stage, error) {
	if err := f.before("begin", dir); err != nil {
		return nil, err
	}
	s, err := f.Editor.Begin(ctx, dir, overwrite)
	if err != nil {
		return nil, err
	}
	return &stage{s, f}, nil
}

// BeginInPlace fails where the store is no storage.MarkerStore.
func (f *failing) BeginInPlace(ctx context.Context, dir, marker string, look storage.Look) (storage.Stage, error) {
	store, ok := f.Editor.(storage.MarkerStore)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	if err := f.before("begin", dir); err != nil {
		return nil, err
	}
	s, err := store.BeginInPlace(ctx, dir, marker, look)
	if err != nil {
		return nil, err
	}
	return &stage{s, f}, nil
}

func (f *failing) Edit(ctx context.Context, dir string) (storage.Edit, error) {
	if err := f.before("edit", dir); err != nil {
		return nil, err
	}
	e, err := f.Editor.Edit(ctx, dir)
	if err != nil {
		return nil, err
	}
	return &edit{e, f}, nil
}

func (f *failing) Room(ctx context.Context, dir string) (int64, error) {
	if r, ok := f.Editor.(storage.Roomer); ok {
		return r.Room(ctx, dir)
	}
	return 0, errors.ErrUnsupported
}

func (f *failing) Entries(ctx context.Context, dir string) ([]storage.Entry, error) {
	return storage.Entries(ctx, f.Editor, dir)
}

func (f *failing) Left(ctx context.Context, dir string) ([]string, error) {
	if l, ok := f.Editor.(storage.Lefter); ok {
		return l.Left(ctx, dir)
	}
	return nil, nil
}

type edit struct {
	storage.Edit
	f *failing
}

func (e *edit) Put(ctx context.Context, name string, data []byte, replace bool) error {
	if err := e.f.before("put", name); err != nil {
		return err
	}
	return e.Edit.Put(ctx, name, data, replace)
}

func (e *edit) Remove(ctx context.Context, name string, look storage.Look) error {
	if err := e.f.before("remove", name); err != nil {
		return err
	}
	return e.Edit.Remove(ctx, name, look)
}

func (e *edit) RemoveAll(ctx context.Context, look storage.Look, last ...string) error {
	if err := e.f.before("remove", ""); err != nil {
		return err
	}
	return e.Edit.RemoveAll(ctx, look, last...)
}

type stage struct {
	storage.Stage
	f *failing
}

func (s *stage) Mkdir(ctx context.Context, name string) error {
	if err := s.f.before("mkdir", name); err != nil {
		return err
	}
	return s.Stage.Mkdir(ctx, name)
}

func (s *stage) Create(ctx context.Context, name string, size int64) (storage.Writer, error) {
	if err := s.f.before("create", name); err != nil {
		return nil, err
	}
	w, err := s.Stage.Create(ctx, name, size)
	if err != nil {
		return nil, err
	}
	return &writer{w, s.f, name}, nil
}

func (s *stage) Link(ctx context.Context, from, name string) error {
	if err := s.f.before("link", name); err != nil {
		return err
	}
	return s.Stage.Link(ctx, from, name)
}

func (s *stage) Share(ctx context.Context, from, name string) error {
	sharer, ok := s.Stage.(storage.Sharer)
	if !ok {
		return errors.ErrUnsupported
	}
	if err := s.f.before("share", name); err != nil {
		return err
	}
	return sharer.Share(ctx, from, name)
}

func (s *stage) Commit(ctx context.Context) error {
	if err := s.f.before("commit", ""); err != nil {
		return errors.Join(err, s.Stage.Abort()) // a commit ends the stage
	}
	return s.Stage.Commit(ctx)
}

func (s *stage) CommitOver(ctx context.Context, look storage.Look) error {
	if err := s.f.before("commit", ""); err != nil {
		return errors.Join(err, s.Stage.Abort()) // a commit ends the stage
	}
	return storage.CommitOver(ctx, s.Stage, look)
}

func (s *stage) CanReplace(ctx context.Context) error { return storage.CanReplace(ctx, s.Stage) }

func (s *stage) CommitInto(ctx context.Context, name string) error {
	if err := s.f.before("commit", name); err != nil {
		return errors.Join(err, s.Stage.Abort()) // a commit ends the stage
	}
	return s.Stage.CommitInto(ctx, name)
}

type writer struct {
	storage.Writer
	f    *failing
	name string
}

func (w *writer) WriteAt(ctx context.Context, p []byte, off int64) error {
	if err := w.f.before("write", w.name); err != nil {
		return err
	}
	return w.Writer.WriteAt(ctx, p, off)
}

func (w *writer) WriteBuffers(ctx context.Context, off int64, bufs ...[]byte) error {
	if err := w.f.before("write", w.name); err != nil {
		return err
	}
	return storage.WriteBuffers(ctx, w.Writer, off, bufs...)
}

func (w *writer) Alignment() int { return storage.Alignment(w.Writer) }

func (w *writer) Close() error {
	if err := w.f.before("close", w.name); err != nil {
		w.Writer.Close()
		return err
	}
	return w.Writer.Close()
}
