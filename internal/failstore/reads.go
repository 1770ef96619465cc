package failstore

import (
	"context"
	"errors"
	"io/fs"
	"path"

	"github.com/go-orbax/orbax/storage"
)

// NewReads returns store with before called ahead of every operation that looks for
// something: "open", "stat", "list", and "entry" for each entry of a listing. An error
// takes the operation's place; an entry that is not found is left out of the listing, as
// a store does with what it takes for removed. Several goroutines may call before.
func NewReads(store storage.Editor, before func(op, name string) error) storage.Editor {
	return &reading{store, before}
}

// NotFound is the error of an operation that does not find name.
func NotFound(op, name string) error { return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist} }

type reading struct {
	storage.Editor
	before func(op, name string) error
}

func (r *reading) Open(ctx context.Context, name string) (storage.Reader, error) {
	if err := r.before("open", name); err != nil {
		return nil, err
	}
	return r.Editor.Open(ctx, name)
}

func (r *reading) Stat(ctx context.Context, name string) (storage.Info, error) {
	if err := r.before("stat", name); err != nil {
		return storage.Info{}, err
	}
	return r.Editor.Stat(ctx, name)
}

func (r *reading) List(ctx context.Context, dir string) ([]storage.Info, error) {
	if err := r.before("list", dir); err != nil {
		return nil, err
	}
	all, err := r.Editor.List(ctx, dir)
	if err != nil {
		return nil, err
	}
	var infos []storage.Info
	for _, info := range all {
		err := r.before("entry", path.Join(dir, info.Name))
		switch {
		case err == nil:
			infos = append(infos, info)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	return infos, nil
}

func (r *reading) Room(ctx context.Context, dir string) (int64, error) {
	if roomer, ok := r.Editor.(storage.Roomer); ok {
		return roomer.Room(ctx, dir)
	}
	return 0, errors.ErrUnsupported
}
