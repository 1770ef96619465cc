// Package atomicfile writes a file of the local disk that comes to its path when it is complete,
// and is durable then. Package storage publishes directories, as checkpoints are; a single
// file, such as one of safetensors, has no store to be written to.
package atomicfile

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// File is a file that comes to its path when it is complete.
type File struct {
	*os.File
	path string
	made []string // directories, the outermost first
	done bool
}

// unfinished is the beginning of the names under which files for a path are written.
func unfinished(path string) string {
	dir, name := filepath.Split(path)
	return dir + "." + name + ".tmp-"
}

// Create creates a file of size bytes that Commit will move to path, and
// the directories that path lacks. Until then it lies beside path under another
// name, locked, so that what a killed program has left can be told from it.
func Create(path string, size int64) (*File, error) {
	made, err := makeDirs(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	f, err := createLocked(unfinished(path))
	if err != nil {
		removeDirs(made)
		// Of the path that was asked for, not of the name beside it.
		var cause *fs.PathError
		if errors.As(err, &cause) {
			err = &fs.PathError{Op: "create", Path: path, Err: cause.Err}
		}
		return nil, err
	}
	a := &File{File: f, path: path, made: made}
	if err := f.Truncate(size); err != nil {
		a.Discard()
		return nil, err
	}
	return a, nil
}

// base32 are the characters of rand.Text.
const base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

// errLocked reports that another program has locked a file.
var errLocked = errors.New("locked")

// createLocked creates and locks a file with a name that begins with prefix. A
// conversion that looks between the two takes the file for dead and removes it; then
// another one is created.
func createLocked(prefix string) (*os.File, error) {
	for {
		f, err := os.OpenFile(prefix+rand.Text()[:8], os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if err != nil {
			return nil, err
		}
		if !errors.Is(lockFile(f), errLocked) { // without locks nobody removes it
			here, err := os.Lstat(f.Name())
			if err == nil {
				if mine, serr := f.Stat(); serr == nil && os.SameFile(here, mine) {
					return f, nil
				}
			} else if !errors.Is(err, fs.ErrNotExist) {
				return nil, errors.Join(err, f.Close())
			}
		}
		f.Close() // whoever has locked it removes it
	}
}

// RemoveDead removes what killed programs at path have left. Nothing depends on
// it, so that failures have no consequence.
func RemoveDead(path string) {
	prefix := unfinished(path)
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return
	}
	for _, e := range entries {
		random, ok := strings.CutPrefix(e.Name(), filepath.Base(prefix))
		if !ok || len(random) != 8 || strings.Trim(random, base32) != "" || !e.Type().IsRegular() {
			continue
		}
		f, err := os.OpenFile(filepath.Join(filepath.Dir(path), e.Name()), os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if lockFile(f) == nil {
			_ = os.Remove(f.Name())
		}
		f.Close()
	}
}

// Commit makes the file durable and moves it to its path. Without replace it
// fails if something is there.
func (a *File) Commit(replace bool) error {
	if err := a.Sync(); err != nil {
		return err
	}
	if runtime.GOOS == "windows" { // elsewhere it stays locked until it has its name
		if err := a.Close(); err != nil {
			return err
		}
	}
	move := renameNew
	if replace {
		move = os.Rename
	}
	if err := move(a.Name(), a.path); err != nil {
		return err
	}
	a.done = true
	var err error
	if runtime.GOOS != "windows" {
		err = a.Close()
	}
	err = errors.Join(err, syncDir(filepath.Dir(a.path)))
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

// Discard removes the file unless it was committed.
func (a *File) Discard() {
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
