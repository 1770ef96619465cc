package main

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// atomicFile is a file that comes to its path when it is complete.
type atomicFile struct {
	*os.File
	path string
	done bool
}

// createAtomic creates a file of size bytes that commit will move to path. Until
// then it lies beside path under another name.
func createAtomic(path string, size int64) (*atomicFile, error) {
	dir, name := filepath.Split(path)
	f, err := os.OpenFile(dir+"."+name+".tmp-"+rand.Text()[:8], os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		// Of the path that was asked for, not of the name beside it.
		var cause *fs.PathError
		if errors.As(err, &cause) {
			err = &fs.PathError{Op: "create", Path: path, Err: cause.Err}
		}
		return nil, err
	}
	a := &atomicFile{File: f, path: path}
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
	return syncDir(filepath.Dir(a.path))
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
