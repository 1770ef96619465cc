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

// openBelow opens the directory name below top. Every directory on the way, from the
// first one in top on, must be a real one and not a link.
func openBelow(top, name string) (folder, error) {
	d, err := openFolder(top)
	if err != nil || name == "." {
		return d, err
	}
	for element := range strings.SplitSeq(name, "/") {
		top = path.Join(top, element)
		next, err := d.openReal(element, top)
		d.close()
		if err != nil {
			return folder{}, err
		}
		d = next
	}
	return d, nil
}

// openReal opens the directory name in d, and refuses a link. Its path is full.
func (d folder) openReal(name, full string) (folder, error) {
	next, err := d.open(name)
	if err != nil {
		if now, kerr := d.isDir(name); kerr == nil && !now {
			err = appeared(full)
		}
	}
	return next, err
}

// mustBe fails if the directory does not have the identity that its path had before.
func (d folder) mustBe(before identity, full string) error {
	now, err := d.id()
	if err == nil && !now.same(before) {
		err = appeared(full)
	}
	return err
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
	return d, asLink(err)
}

// asLink makes an error match fault.ErrLink if it reports that something has taken the
// place of a directory.
func asLink(err error) error {
	if errors.Is(err, errAppeared) {
		return fmt.Errorf("%w: %w", fault.ErrLink, err)
	}
	return err
}

// checkOwn checks a directory of a stage. It fails with fault.ErrLink if a link leads to
// the directory from top on, or is in it. It also fails if id is not nil and the
// directory has another identity, or if one of the files is missing.
func checkOwn(top, name string, id *identity, files []string) error {
	d, err := openOwn(top, name)
	if err != nil {
		return err
	}
	defer d.close()
	if id != nil {
		if err := d.mustBe(*id, path.Join(top, name)); err != nil {
			return err
		}
	}
	entries, err := d.entries()
	if err != nil {
		return err
	}
	there := make(map[string]bool, len(entries))
	for _, e := range entries {
		if e.Type()&fs.ModeSymlink != 0 {
			return fmt.Errorf("%w: %w", fault.ErrLink, appeared(path.Join(top, name, e.Name())))
		}
		there[e.Name()] = true
	}
	for _, file := range files {
		if !there[file] {
			return fmt.Errorf("%w: %s was removed while the checkpoint was written", fault.ErrIncomplete, path.Join(top, name, file))
		}
	}
	return nil
}
