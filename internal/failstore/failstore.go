// Package failstore is a store for tests. Any operation that changes something can be
// made to fail, or to be the last operation of the process. [Counter] counts the
// operations on a store.
package failstore

import (
	"context"
	"errors"

	"github.com/go-orbax/orbax/storage"
)

// New returns a store that calls before ahead of every operation that changes something.
// If before returns an error, the operation fails with it instead of running. Several
// goroutines may call before.
func New(store storage.Store, before func(op, name string) error) storage.Store {
	return &failing{store, before}
}

type failing struct {
	storage.Store
	before func(op, name string) error
}

func (f *failing) Confined(root string, outside bool) storage.Store {
	return &failing{storage.Confine(f.Store, root, outside), f.before}
}

func (f *failing) Snapshot(ctx context.Context, dir string) (storage.Store, error) {
	in, err := f.Store.Snapshot(ctx, dir)
	if in == nil || err != nil {
		return nil, err
	}
	return &failing{in, f.before}, nil
}

func (f *failing) Begin(ctx context.Context, dir string, o storage.BeginOptions) (storage.Stage, error) {
	if err := f.before("begin", dir); err != nil {
		return nil, err
	}
	s, err := f.Store.Begin(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	return &stage{files{s, f}, s}, nil
}

func (f *failing) Join(ctx context.Context, ticket string) (storage.Joined, error) {
	if err := f.before("join", ticket); err != nil {
		return nil, err
	}
	j, err := f.Store.Join(ctx, ticket)
	if err != nil {
		return nil, err
	}
	return &joined{files{j, f}, j}, nil
}

func (f *failing) Revoke(ctx context.Context, ticket string) error {
	if err := f.before("revoke", ticket); err != nil {
		return err
	}
	return f.Store.Revoke(ctx, ticket)
}

func (f *failing) Edit(ctx context.Context, dir string) (storage.Edit, error) {
	if err := f.before("edit", dir); err != nil {
		return nil, err
	}
	e, err := f.Store.Edit(ctx, dir)
	if err != nil {
		return nil, err
	}
	return &edit{e, f}, nil
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

type files struct {
	storage.Files
	f *failing
}

func (s *files) Mkdir(ctx context.Context, name string) error {
	if err := s.f.before("mkdir", name); err != nil {
		return err
	}
	return s.Files.Mkdir(ctx, name)
}

func (s *files) Create(ctx context.Context, name string, size int64) (storage.Writer, error) {
	if err := s.f.before("create", name); err != nil {
		return nil, err
	}
	w, err := s.Files.Create(ctx, name, size)
	if err != nil {
		return nil, err
	}
	return &writer{w, s.f, name}, nil
}

func (s *files) Link(ctx context.Context, from, name string, o storage.LinkOptions) error {
	op := "link"
	if o.Share {
		op = "share"
	}
	if err := s.f.before(op, name); err != nil {
		return err
	}
	return s.Files.Link(ctx, from, name, o)
}

type stage struct {
	files
	all storage.Stage
}

func (s *stage) Dir() string    { return s.all.Dir() }
func (s *stage) Ticket() string { return s.all.Ticket() }
func (s *stage) Abort() error   { return s.all.Abort() }

func (s *stage) Commit(ctx context.Context) error {
	if err := s.f.before("commit", ""); err != nil {
		return errors.Join(err, s.all.Abort()) // a commit ends the stage
	}
	return s.all.Commit(ctx)
}

type joined struct {
	files
	all storage.Joined
}

func (j *joined) Close(ctx context.Context) error {
	if err := j.f.before("leave", ""); err != nil {
		gone, cancel := context.WithCancel(ctx)
		cancel()
		return errors.Join(err, j.all.Close(gone))
	}
	return j.all.Close(ctx)
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
