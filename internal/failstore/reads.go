package failstore

import (
	"context"
	"errors"
	"io/fs"
	"path"

	"github.com/go-orbax/orbax/storage"
)

// NewReads returns a store that calls before ahead of every operation that looks for
// something. The operations are "open", "stat", "list", and "entry" for each entry of a
// listing. If before returns an error, the operation fails with it instead of running. An
// entry that is not found is left out of the listing, as a store leaves out an entry that
// it takes for removed. Several goroutines may call before.
func NewReads(store storage.Store, before func(op, name string) error) storage.Store {
	return &reading{store, before}
}

// NotFound returns the error of an operation that does not find name.
func NotFound(op, name string) error { return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist} }

type reading struct {
	storage.Store
	before func(op, name string) error
}

func (r *reading) Open(ctx context.Context, name string) (storage.Reader, error) {
	if err := r.before("open", name); err != nil {
		return nil, err
	}
	return r.Store.Open(ctx, name)
}

func (r *reading) Stat(ctx context.Context, name string) (storage.Info, error) {
	if err := r.before("stat", name); err != nil {
		return storage.Info{}, err
	}
	return r.Store.Stat(ctx, name)
}

func (r *reading) List(ctx context.Context, dir string) ([]storage.Info, error) {
	if err := r.before("list", dir); err != nil {
		return nil, err
	}
	all, err := r.Store.List(ctx, dir)
	if err != nil {
		return nil, err
	}
	return found(r, dir, all, func(i storage.Info) string { return i.Name })
}

func (r *reading) Entries(ctx context.Context, dir string) ([]storage.Entry, error) {
	if err := r.before("list", dir); err != nil {
		return nil, err
	}
	all, err := storage.Entries(ctx, r.Store, dir)
	if err != nil {
		return nil, err
	}
	return found(r, dir, all, func(e storage.Entry) string { return e.Name })
}

func (r *reading) Confined(root string, outside bool) storage.Store {
	return &reading{storage.Confine(r.Store, root, outside), r.before}
}

func (r *reading) Snapshot(ctx context.Context, dir string) (storage.Store, error) {
	in, err := r.Store.Snapshot(ctx, dir)
	if in == nil || err != nil {
		return nil, err
	}
	return &reading{in, r.before}, nil
}

// found returns the entries of a listing that are found.
func found[E any](r *reading, dir string, all []E, name func(E) string) (entries []E, err error) {
	for _, e := range all {
		err := r.before("entry", path.Join(dir, name(e)))
		switch {
		case err == nil:
			entries = append(entries, e)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	return entries, nil
}
