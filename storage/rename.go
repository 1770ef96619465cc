package storage

import (
	"io/fs"
	"os"
)

// renameIfAbsent renames on systems that cannot refuse to replace. Between the look and
// the rename another process could create an empty directory, which would be replaced.
// Anything else makes the rename fail.
func renameIfAbsent(old, new entry) error {
	if new.exists() {
		return linkError("rename", old.path(), new.path(), fs.ErrExist)
	}
	return renameOver(old, new)
}

func (osSystem) replace(old, new entry) error { return renameOver(old, new) }

func linkError(op, old, new string, err error) error {
	if err == nil {
		return nil
	}
	return &os.LinkError{Op: op, Old: old, New: new, Err: err}
}
