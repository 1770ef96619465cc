// Package frozen presents a directory of a store as one listing has found it.
//
// Network file systems may fail once to find a file. A caller that merges a directory and
// then removes it must not treat such a file as absent. With this package a file in the
// listing exists or is an error, and a file that is not in the listing does not exist.
package frozen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// Store is a [storage.Store] in which one directory stays as it was listed. Files
// elsewhere, and Begin, are those of the underlying store.
type Store struct {
	storage.Store
	dir string
	all map[string]listed // indexed by name in the store
}

type listed struct {
	storage.Info
	entries []storage.Info // of a directory
}

// New lists everything below the directory at.
func New(ctx context.Context, at storage.Location) (*Store, error) {
	s := &Store{at.Store, at.Name, map[string]listed{}}
	return s, s.list(ctx, storage.Info{Name: at.Base(), Dir: true}, s.dir)
}

func (s *Store) list(ctx context.Context, info storage.Info, dir string) error {
	entries, err := s.Store.List(ctx, dir)
	if err != nil {
		if dir != s.dir && errors.Is(err, fs.ErrNotExist) {
			return s.changed(dir)
		}
		return err
	}
	s.all[dir] = listed{info, entries}
	for _, e := range entries {
		name := path.Join(dir, e.Name)
		if !e.Dir {
			s.all[name] = listed{Info: e}
		} else if err := s.list(ctx, e, name); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) changed(name string) error {
	return fmt.Errorf("%w: %s changes while it is read (%s)", fault.ErrBusy, s.dir, strings.TrimPrefix(strings.TrimPrefix(name, s.dir), "/"))
}

// Unchanged lists the directory again. It returns an error that matches [fault.ErrBusy]
// if anything differs. A file that was written anew shows that by its version, its time or
// its size, if the store knows these.
func (s *Store) Unchanged(ctx context.Context) error { return s.compare(ctx, false) }

// Kept is [Store.Unchanged] that accepts files that were added.
func (s *Store) Kept(ctx context.Context) error { return s.compare(ctx, true) }

func (s *Store) compare(ctx context.Context, added bool) error {
	now, err := New(ctx, storage.At(s.Store, s.dir))
	if err != nil {
		return err
	}
	for name, was := range s.all {
		is, ok := now.all[name]
		if !ok || is.Dir != was.Dir || is.Size != was.Size || !is.ModTime.Equal(was.ModTime) || !is.Dir && is.Version != was.Version {
			return s.changed(name)
		}
	}
	for name := range now.all {
		if _, ok := s.all[name]; !ok && !added {
			return s.changed(name)
		}
	}
	return nil
}

// inside reports whether a name lies in the directory, and returns its entry in the
// listing, if there is one.
func (s *Store) inside(name string) (_ listed, there, inside bool) {
	l, there := s.all[name]
	return l, there, there || strings.HasPrefix(name, strings.TrimSuffix(s.dir, "/")+"/")
}

// Stat returns the entry of name in the listing.
func (s *Store) Stat(ctx context.Context, name string) (storage.Info, error) {
	l, there, inside := s.inside(path.Clean(name))
	switch {
	case !inside:
		return s.Store.Stat(ctx, name)
	case !there:
		return storage.Info{}, missing("stat", name)
	}
	return l.Info, nil
}

// List returns the entries of dir in the listing.
func (s *Store) List(ctx context.Context, dir string) ([]storage.Info, error) {
	l, there, inside := s.inside(path.Clean(dir))
	switch {
	case !inside:
		return s.Store.List(ctx, dir)
	case !there || !l.Dir:
		return nil, missing("list", dir)
	}
	return append([]storage.Info(nil), l.entries...), nil
}

// Entries fails, so that [storage.Entries] calls List and gets the listing.
func (s *Store) Entries(context.Context, string) ([]storage.Entry, error) {
	return nil, errors.ErrUnsupported
}

// Confined returns nil: the directory has been listed within its bounds.
func (s *Store) Confined(string, bool) storage.Store { return nil }

// Snapshot returns nil: the listing answers already.
func (s *Store) Snapshot(context.Context, string) (storage.Store, error) { return nil, nil }

// Open opens a file of the listing. If the file is not found, or now has another size,
// the error matches [fault.ErrBusy].
func (s *Store) Open(ctx context.Context, name string) (storage.Reader, error) {
	l, there, inside := s.inside(path.Clean(name))
	if inside && !there {
		return nil, missing("open", name)
	}
	r, err := s.Store.Open(ctx, name)
	switch {
	case !inside:
		return r, err
	case errors.Is(err, fs.ErrNotExist):
		return nil, s.changed(name)
	case err != nil:
		return nil, err
	case r.Size() != l.Size && !l.Dir:
		r.Close()
		return nil, s.changed(name)
	}
	return r, nil
}

func missing(op, name string) error { return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist} }
