package storage

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
)

// Look decides whether the directory dir may be removed. It returns all entries below
// dir, each directory before its own entries, or an error if dir must stay. The store
// removes these entries, the last one first, and no others.
type Look func(ctx context.Context, dir string) ([]Item, error)

// Item is a file or a directory below a directory that is to be removed.
type Item struct {
	Name string // relative to the directory that is to be removed, with slashes
	Dir  bool   // true for a directory, false for a link to one
}

// Entry is an entry of a directory, with links not followed.
type Entry struct {
	Name string // last element of the name
	// Type is 0 for a regular file, fs.ModeDir for a directory, and fs.ModeSymlink for a
	// link. Other kinds have the type bits of [io/fs.FileMode].
	Type fs.FileMode
}

// Entries returns all entries of a directory in the order of their names, and follows no
// links. For a store without links it returns the entries of [Store].List.
func Entries(ctx context.Context, store Store, dir string) ([]Entry, error) {
	if entries, err := store.Entries(ctx, dir); !errors.Is(err, errors.ErrUnsupported) {
		return entries, err
	}
	infos, err := store.List(ctx, dir)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, len(infos))
	for i, info := range infos {
		entries[i].Name = info.Name
		if info.Dir {
			entries[i].Type = fs.ModeDir
		}
	}
	return entries, nil
}

func (*local) Entries(ctx context.Context, dir string) ([]Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	all, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, len(all))
	for i, e := range all {
		entries[i] = Entry{e.Name(), e.Type()}
	}
	return entries, nil
}

// everything is the [Look] that allows the removal of a directory with all its contents.
func everything(ctx context.Context, dir string) ([]Item, error) {
	var items []Item
	var below func(name string) error
	below = func(name string) error {
		entries, err := (&local{}).Entries(ctx, path.Join(dir, name))
		for _, e := range entries {
			item := Item{path.Join(name, e.Name), e.Type.IsDir()}
			items = append(items, item)
			if item.Dir && err == nil {
				err = below(item.Name)
			}
		}
		return err
	}
	return items, below("")
}

// removeLooks is how often a directory is looked at before entries that appear count as
// the work of other programs. A network file system may not have shown them at first.
const removeLooks = 5

// removeLooked calls remove with the entries of a directory that look lists.
func removeLooked(ctx context.Context, dir string, look Look, remove func([]Item) error) error {
	for n := 1; ; n++ {
		items, err := lookAt(ctx, dir, look)
		if err == nil {
			err = remove(items)
		}
		switch _, serr := os.Lstat(dir); {
		case err == nil:
			return nil
		case errors.Is(serr, fs.ErrNotExist): // by another process that removes it for the same reason
			return nil
		case n == removeLooks || !errors.Is(err, errAppeared) && !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
}

// lookAt calls look for a directory, and refuses a link in its place.
func lookAt(ctx context.Context, dir string, look Look) ([]Item, error) {
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, appeared(dir)
	}
	return look(ctx, dir)
}
