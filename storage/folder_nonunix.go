//go:build !unix

package storage

import (
	"errors"
	"io/fs"
	"os"
)

// folder is an open directory. It stays the same directory even if its path leads
// elsewhere by then.
type folder struct{ root *os.Root }

// openFolder opens a directory, or the one that a link leads to.
func openFolder(name string) (folder, error) {
	root, err := os.OpenRoot(name)
	return folder{root}, err
}

// open opens a directory in d, and refuses a link. An os.Root follows links that stay
// inside it, so open checks that it has opened the directory that it has found.
func (d folder) open(name string) (folder, error) {
	found, err := d.root.Lstat(name)
	if err != nil {
		return folder{}, err
	}
	notDir := &os.PathError{Op: "open", Path: name, Err: errNotDirectory}
	if !found.IsDir() {
		return folder{}, notDir
	}
	root, err := d.root.OpenRoot(name)
	if err != nil {
		return folder{}, err
	}
	opened, err := root.Stat(".")
	if err == nil && !os.SameFile(found, opened) {
		err = notDir
	}
	if err != nil {
		root.Close()
		return folder{}, err
	}
	return folder{root}, nil
}

func (d folder) close() { d.root.Close() }

// identity distinguishes files and directories that exist at the same time.
type identity struct{ fs.FileInfo }

func (i identity) same(other identity) bool { return os.SameFile(i.FileInfo, other.FileInfo) }

// text returns the identity for a ticket: here nothing.
func (i identity) text() string { return "" }

func (d folder) id() (identity, error) {
	info, err := d.root.Stat(".")
	return identity{info}, err
}

// isDir reports whether an entry is a directory and not a link to one.
func (d folder) isDir(name string) (bool, error) {
	info, err := d.root.Lstat(name)
	return err == nil && info.IsDir(), err
}

// remove removes an empty directory if dir is true, and otherwise a file or a link.
func (d folder) remove(name string, dir bool) error {
	is, err := d.isDir(name)
	if err == nil && is != dir {
		err = &os.PathError{Op: "remove", Path: name, Err: errNotDirectory}
	}
	if err != nil {
		return err
	}
	return d.root.Remove(name)
}

func (d folder) entries() ([]fs.DirEntry, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}

// Directories cannot be synced here; the file system journals them.
func (folder) sync() error { return nil }

var errNotDirectory = errors.New("a directory and something else have changed places")
