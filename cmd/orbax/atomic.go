package main

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

// atomicFile is a file that comes to its path when it is complete.
type atomicFile struct {
	*os.File
	path string
	made []string // directories, the outermost first
	done bool
}

// createAtomic creates a file of size bytes that commit will move to path, and
// the directories that path lacks. Until then it lies beside path under another
// name.
func createAtomic(path string, size int64) (*atomicFile, error) {
	dir, name := filepath.Split(path)
	made, err := makeDirs(filepath.Clean(dir))
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(dir+"."+name+".tmp-"+rand.Text()[:8], os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		removeDirs(made)
		// Of the path that was asked for, not of the name beside it.
		var cause *fs.PathError
		if errors.As(err, &cause) {
			err = &fs.PathError{Op: "create", Path: path, Err: cause.Err}
		}
		return nil, err
	}
	a := &atomicFile{File: f, path: path, made: made}
	if err := f.Truncate(size); err != nil {
		a.discard()
		return nil, err
	}
	return a, nil
}

// commit makes the file durable and moves it to its path. Without replace it
// fails if something is there.
func (a *atomicFile) commit(replace bool) error {
	err := a.Sync()
	if cerr := a.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if replace {
		err = os.Rename(a.Name(), a.path)
	} else {
		err = renameNew(a.Name(), a.path)
	}
	if err != nil {
		return err
	}
	a.done = true
	err = syncDir(filepath.Dir(a.path))
	for _, dir := range a.made {
		err = errors.Join(err, syncDir(filepath.Dir(dir)))
	}
	return err
}

// makeDirs makes dir and the directories above it that are missing. It returns
// those that it made, the outermost first.
func makeDirs(dir string) ([]string, error) {
	var missing []string
	for {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, dir)
		dir = filepath.Dir(dir)
	}
	var made []string
	for _, dir := range slices.Backward(missing) {
		err := os.Mkdir(dir, 0o777)
		switch {
		case err == nil:
			made = append(made, dir)
		case !errors.Is(err, fs.ErrExist): // another process may be as fast
			removeDirs(made)
			return nil, err
		}
	}
	return made, nil
}

// removeDirs removes what makeDirs made, but for directories that others have
// put something into.
func removeDirs(made []string) {
	for _, dir := range slices.Backward(made) {
		_ = os.Remove(dir)
	}
}

// renameNew renames a file, but never over another. A link refuses to replace;
// where the file system has no links, a look must do.
func renameNew(old, path string) error {
	err := os.Link(old, path)
	if err == nil {
		return os.Remove(old)
	}
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, err := os.Lstat(path); err == nil {
		return &os.PathError{Op: "rename", Path: path, Err: fs.ErrExist}
	}
	return os.Rename(old, path)
}

// discard removes the file unless it was committed.
func (a *atomicFile) discard() {
	if !a.done {
		_ = a.Close()
		_ = os.Remove(a.Name())
		removeDirs(a.made)
	}
}

// syncDir makes a rename in a directory durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // it cannot open directories
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
