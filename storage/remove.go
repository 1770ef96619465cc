package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/go-orbax/orbax/internal/fault"
)

// Another process that may write to a directory can move its entries away and put links
// in their place during a removal. So nothing is removed by its path. For each entry,
// every directory from the removed one down to the entry is opened anew, each in the one
// above, and must be a directory and not a link.

func (s osSystem) remove(dir string, items []Item) error {
	return s.removeBelow(path.Dir(dir), path.Base(dir), Item{Name: ".", Dir: true}, items)
}

func (s osSystem) removeEntry(dir string, entry Item, items []Item) error {
	return s.removeBelow(path.Dir(dir), path.Base(dir), entry, items)
}

// removeBelow removes an entry somewhere below the directory base of top, and the items
// first, whose names are relative to the entry. top may be reached through links.
// removeBelow stops at anything that another process has put in the way.
func (s osSystem) removeBelow(top, base string, entry Item, items []Item) error {
	for _, item := range slices.Backward(append([]Item{{"", entry.Dir}}, items...)) {
		name := path.Join(base, entry.Name, item.Name)
		if s.removing != nil {
			s.removing(path.Join(top, name))
		}
		if err := removeOne(top, name, item.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // it may be gone
			return err
		}
	}
	return nil
}

// removeOne removes a file, a link or an empty directory below top.
func removeOne(top, name string, dir bool) error {
	d, err := openBelow(top, path.Dir(name))
	if err != nil {
		return err
	}
	defer d.close()
	full := path.Join(top, name)
	err = d.remove(path.Base(name), dir)
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return err
	case isNotEmpty(err):
		if entry := d.anyIn(path.Base(name)); entry != "" {
			return appeared(path.Join(full, entry))
		}
	default:
		if now, kerr := d.isDir(path.Base(name)); kerr == nil && now != dir {
			return appeared(full)
		}
	}
	return &os.PathError{Op: "remove", Path: full, Err: err}
}

// appeared returns the error for an entry that blocks a removal.
func appeared(name string) error {
	return fmt.Errorf("%w: %w: %s", fault.ErrInvalidCheckpoint, errAppeared, name)
}

// errAppeared reports that another process has put something into a directory that is
// being removed.
var errAppeared = errors.New("something has been put there meanwhile, and is left")
