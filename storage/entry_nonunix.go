//go:build !unix

package storage

import (
	"io/fs"
	"os"
)

// openFile opens a file. In an open directory it opens no link that leads out of that.
func (e entry) openFile(flags int, perm uint32) (*os.File, error) {
	if e.in == nil {
		return os.OpenFile(e.name, flags, fs.FileMode(perm))
	}
	return e.in.root.OpenFile(e.name, flags, fs.FileMode(perm))
}

func (e entry) lstat() (fs.FileInfo, error) {
	if e.in == nil {
		return os.Lstat(e.name)
	}
	return e.in.root.Lstat(e.name)
}

// perm returns the permissions of a regular file.
func (e entry) perm() (perm fs.FileMode, regular bool) {
	info, err := e.lstat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, false
	}
	return info.Mode().Perm(), true
}

// id returns the identity of the file or directory with the name.
func (e entry) id() (identity, error) {
	info, err := e.lstat()
	return identity{info}, err
}

// exists reports whether the name exists.
func (e entry) exists() bool {
	_, err := e.lstat()
	return err == nil
}

func (osSystem) mkdir(e entry) error {
	if e.in == nil {
		return os.Mkdir(e.name, 0o777)
	}
	return e.in.root.Mkdir(e.name, 0o777)
}

// renameOver renames a file or a directory, over an existing one if there is one.
func renameOver(old, new entry) error {
	for _, e := range []entry{old, new} {
		if err := e.samePath(); err != nil {
			return linkError("rename", old.path(), new.path(), err)
		}
	}
	return os.Rename(old.path(), new.path())
}
