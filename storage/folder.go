package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
)

// anyIn returns the name of an entry of a directory in d, or "".
func (d folder) anyIn(name string) string {
	in, err := d.open(name)
	if err != nil {
		return ""
	}
	defer in.close()
	entries, err := in.entries()
	if err != nil || len(entries) == 0 {
		return ""
	}
	return slices.MinFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) }).Name()
}

// openBelow opens the directory called name below top. Each on the way must be a real
// one, from the first in top on.
func openBelow(top, name string) (folder, error) {
	d, err := openFolder(top)
	if err != nil || name == "." {
		return d, err
	}
	for element := range strings.SplitSeq(name, "/") {
		top = path.Join(top, element)
		next, err := d.open(element)
		if err != nil {
			if now, kerr := d.isDir(element); kerr == nil && !now {
				err = appeared(top)
			}
		}
		d.close()
		if err != nil {
			return folder{}, err
		}
		d = next
	}
	return d, nil
}

func (osSystem) syncOwn(top, name string) error {
	d, err := openOwn(top, name)
	if err != nil {
		return err
	}
	defer d.close()
	return d.sync()
}

func openOwn(top, name string) (folder, error) {
	d, err := openBelow(path.Dir(top), path.Join(path.Base(top), name))
	if errors.Is(err, errAppeared) {
		err = fmt.Errorf("%w: %w", fault.ErrLink, err)
	}
	return d, err
}

// checkOwn fails with fault.ErrLink if a directory below top is reached by a link from
// top on, or has one.
func checkOwn(top, name string) error {
	d, err := openOwn(top, name)
	if err != nil {
		return err
	}
	defer d.close()
	entries, err := d.entries()
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type()&fs.ModeSymlink != 0 {
			return fmt.Errorf("%w: %w", fault.ErrLink, appeared(path.Join(top, name, e.Name())))
		}
	}
	return nil
}
