package storage

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
)

// Look decides whether the directory dir may be removed: it returns everything that
// is below it, directories before what is in them, or an error that says why it must
// stay. Nothing else is then removed. What is listed first goes last.
type Look func(ctx context.Context, dir string) ([]Item, error)

// Item is an entry somewhere below a directory that is to be removed.
type Item struct {
	Name string // relative to that directory, with slashes
	Dir  bool   // a directory, and not a link to one
}

// Entry is an entry of a directory as it is there.
type Entry struct {
	Name string // last element
	// Type is 0 for a regular file, fs.ModeDir, fs.ModeSymlink for a link, whatever it
	// leads to, or that of another kind.
	Type fs.FileMode
}

// Entries returns all entries of a directory in the order of their names: as they are,
// while [Store].List describes what links lead to and leaves out those that lead
// nowhere.
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

// everything is the Look that lets a directory go with all that is in it.
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

// removeLooks is how often a directory is looked at before what is found in it since
// counts as the work of others: a file system over a network may not have shown it.
const removeLooks = 5

// removeLooked removes a directory, of which look says what may go, by way of remove.
func removeLooked(ctx context.Context, dir string, look Look, remove func([]Item) error) error {
	for n := 1; ; n++ {
		items, err := lookAt(ctx, dir, look)
		if err == nil {
			err = remove(items)
		}
		switch _, serr := os.Lstat(dir); {
		case err == nil:
			return nil
		case errors.Is(serr, fs.ErrNotExist): // by another who takes it for what it is
			return nil
		case n == removeLooks || !errors.Is(err, errAppeared) && !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
}

// lookAt looks at a directory, and not at what a link in its place leads to.
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
