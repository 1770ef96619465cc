package storage

import (
	"io/fs"
	"os"
)

// renameIfAbsent renames where the system has no rename that refuses to
// replace. Between the look and the rename another process could create an
// empty directory, which would be replaced; anything else makes it fail.
func renameIfAbsent(old, new string) error {
	if _, err := os.Lstat(new); err == nil {
		return linkError("rename", old, new, fs.ErrExist)
	}
	return os.Rename(old, new)
}

func (osSystem) replace(old, new string) error {
	if info, err := os.Stat(new); err == nil {
		if err := os.Chmod(old, info.Mode().Perm()); err != nil {
			return err
		}
	}
	return os.Rename(old, new)
}

func linkError(op, old, new string, err error) error {
	if err == nil {
		return nil
	}
	return &os.LinkError{Op: op, Old: old, New: new, Err: err}
}
