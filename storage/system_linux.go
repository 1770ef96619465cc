package storage

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

func openDirect(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_WRONLY|unix.O_DIRECT, 0)
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
