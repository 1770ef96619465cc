// Package atomicfile writes a file of the local disk that appears at its path when it is
// complete and durable. Package storage publishes directories, such as checkpoints. A
// single file, such as a safetensors file, belongs to no store.
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

// File is a file that appears at its path when it is complete.
type File struct {
	*os.File
	path string
	made []string // directories, the outermost first
	done bool
}

// unfinished returns the beginning of the names of unfinished files for path.
func unfinished(path string) string {
	dir, name := filepath.Split(path)
	return dir + "." + name + ".tmp-"
}

// Create creates a file of size bytes, and the directories that path lacks. Commit moves
// the file to path. Until then the file lies beside path under another name. It is
// locked, so that it can be distinguished from the files that killed programs have left.
func Create(path string, size int64) (*File, error) {
	made, err := makeDirs(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	f, err := createLocked(unfinished(path))
	if err != nil {
		removeDirs(made)
		// Name the path that was asked for, not the name beside it.
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

// base32 are the characters of [rand.Text].
const base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

// errLocked reports that another program has locked a file.
var errLocked = errors.New("locked")

// createLocked creates and locks a file whose name begins with prefix. Another program
// that looks between the two takes the file for dead and removes it. Then createLocked
// creates another one.
func createLocked(prefix string) (*os.File, error) {
	for {
		f, err := os.OpenFile(prefix+rand.Text()[:8], os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if err != nil {
			return nil, err
		}
		if !errors.Is(lockFile(f), errLocked) { // without locks no program removes it
			here, err := os.Lstat(f.Name())
			if err == nil {
				if mine, serr := f.Stat(); serr == nil && os.SameFile(here, mine) {
					return f, nil
				}
			} else if !errors.Is(err, fs.ErrNotExist) {
				return nil, errors.Join(err, f.Close())
			}
		}
		f.Close() // the program that has locked it removes it
	}
}

// RemoveDead removes the unfinished files that killed programs have left for path.
// Nothing depends on it, so it ignores failures.
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

// Commit makes the file durable and moves it to its path. If replace is false, it fails
// if the path exists.
func (a *File) Commit(replace bool) error {
	if err := a.Sync(); err != nil {
		return err
	}
	if runtime.GOOS == "windows" { // elsewhere it stays locked until it has its final name
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

// makeDirs creates dir and the missing directories above it. It returns those that it
// created, the outermost first.
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
		case !errors.Is(err, fs.ErrExist): // another process may have created it at the same time
			removeDirs(made)
			return nil, err
		}
	}
	return made, nil
}

// removeDirs removes the directories that makeDirs created, except those that are no
// longer empty.
func removeDirs(made []string) {
	for _, dir := range slices.Backward(made) {
		_ = os.Remove(dir)
	}
}

// renameNew renames a file but never replaces one. A link refuses to replace. If the file
// system has no links, renameNew looks for a file first.
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
		return nil // Windows cannot open directories
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
