package storage

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// room returns how many bytes ordinary users may add.
func room(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(dir, &s) }); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if s.Blocks == 0 { // a file system without a count or a limit
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: errors.ErrUnsupported}
	}
	return bytesOf(s.Bavail, uint64(s.Bsize)), nil
}

func (osSystem) rename(old, new entry) error {
	err := unix.RenameatxNp(old.dir(), old.name, new.dir(), new.name, unix.RENAME_EXCL)
	if unsupported(err) {
		return renameIfAbsent(old, new)
	}
	return linkError("rename", old.path(), new.path(), err)
}

func (osSystem) exchange(a, b string) error {
	err := unix.RenamexNp(a, b, unix.RENAME_SWAP)
	if unsupported(err) {
		err = errors.ErrUnsupported
	}
	return linkError("exchange", a, b, err)
}

// movable is needed only for overlayfs, which this system lacks.
func movable(dir string, beside *openDir) error { return nil }
