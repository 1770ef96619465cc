package storage

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// room is what ordinary users may take.
func room(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(dir, &s) }); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if s.Blocks == 0 { // a file system that does not count, or has no limit
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: errors.ErrUnsupported}
	}
	// The unit of the counts is the fragment; Bsize is that of transfers.
	return bytesOf(s.Bavail, uint64(max(s.Frsize, 0))), nil
}

func (osSystem) rename(old, new string) error {
	err := unix.Renameat2(unix.AT_FDCWD, old, unix.AT_FDCWD, new, unix.RENAME_NOREPLACE)
	if unsupported(err) {
		return renameIfAbsent(old, new)
	}
	return linkError("rename", old, new, err)
}

func (osSystem) exchange(a, b string) error {
	err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	if unsupported(err) {
		err = errors.ErrUnsupported
	}
	return linkError("exchange", a, b, err)
}
