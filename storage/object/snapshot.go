package object

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/storage"
)

// maxSnapshot is the most files of a snapshot. One request lists a thousand.
const maxSnapshot = 20_000

// snapshot is a directory as one listing has found it. Other names are those of the store.
type snapshot struct {
	*Store
	dir   string                    // a key
	files map[string]storage.Info   // by key
	dirs  map[string][]storage.Info // the entries of the directories, by key
}

var errTooMany = errors.New("too many files")

// Snapshot lists a directory with everything below it.
func (s *Store) Snapshot(ctx context.Context, dir string) (storage.Store, error) {
	if _, g := s.overlays.other(keyOf(dir)); g != nil {
		return nil, ctx.Err()
	}
	v := &snapshot{s, keyOf(dir), map[string]storage.Info{}, map[string][]storage.Info{}}
	if v.dir == "" {
		return nil, ctx.Err()
	}
	prefix := below(v.dir)
	err := s.listAll(ctx, ListOptions{Prefix: prefix, Flat: true}, func(p Page) error {
		for _, o := range p.Objects {
			if name := o.Key[len(prefix):]; name == "" || fs.ValidPath(strings.TrimSuffix(name, "/")) {
				v.add(o)
			}
		}
		if len(v.files) > maxSnapshot {
			return errTooMany
		}
		return nil
	})
	switch {
	case errors.Is(err, errTooMany):
		return nil, nil
	case err != nil:
		return nil, err
	case len(v.dirs) == 0:
		return nil, missing("list", dir)
	}
	for dir, entries := range v.dirs {
		v.dirs[dir] = byName(entries)
	}
	return v, nil
}

// add adds an object and the directories that it is in.
func (v *snapshot) add(o Info) {
	dir := strings.TrimSuffix(o.Key, "/")
	if dir == o.Key {
		v.files[o.Key] = infoOf(o)
		dir = path.Dir(o.Key)
		v.enter(dir)
		v.dirs[dir] = append(v.dirs[dir], infoOf(o))
		return
	}
	v.enter(dir)
}

// enter adds a directory.
func (v *snapshot) enter(dir string) {
	if _, known := v.dirs[dir]; known {
		return
	}
	v.dirs[dir] = nil
	if dir != v.dir {
		v.enter(path.Dir(dir))
		v.dirs[path.Dir(dir)] = append(v.dirs[path.Dir(dir)], storage.Info{Name: path.Base(dir), Dir: true})
	}
}

// has reports whether the snapshot answers for a key.
func (v *snapshot) has(key string) bool { return key == v.dir || strings.HasPrefix(key, v.dir+"/") }

func (v *snapshot) Stat(ctx context.Context, name string) (storage.Info, error) {
	key := keyOf(name)
	if !v.has(key) {
		return v.Store.Stat(ctx, name)
	}
	if err := ctx.Err(); err != nil {
		return storage.Info{}, err
	}
	if _, ok := v.dirs[key]; ok {
		return storage.Info{Name: path.Base(key), Dir: true}, nil
	}
	if info, ok := v.files[key]; ok {
		return info, nil
	}
	return storage.Info{}, missing("stat", name)
}

func (v *snapshot) List(ctx context.Context, dir string) ([]storage.Info, error) {
	key := keyOf(dir)
	if !v.has(key) {
		return v.Store.List(ctx, dir)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, ok := v.dirs[key]
	if !ok {
		return nil, missing("list", dir)
	}
	return slices.Clone(entries), nil
}

// Open opens a file of the snapshot, without a request.
func (v *snapshot) Open(ctx context.Context, name string) (storage.Reader, error) {
	key := keyOf(name)
	if !v.has(key) {
		return v.Store.Open(ctx, name)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	info, ok := v.files[key]
	if !ok {
		return nil, missing("open", name)
	}
	return &reader{s: v.Store, key: key, size: info.Size, version: info.Version}, nil
}

// Snapshot returns the snapshot itself for a directory in it.
func (v *snapshot) Snapshot(ctx context.Context, dir string) (storage.Store, error) {
	if key := keyOf(dir); v.has(key) {
		return v, ctx.Err()
	}
	return v.Store.Snapshot(ctx, dir)
}
