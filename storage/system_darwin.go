package storage

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

func openDirect(string) (*os.File, error) { return nil, errors.ErrUnsupported }

func (osSystem) rename(old, new string) error {
	err := unix.RenamexNp(old, new, unix.RENAME_EXCL)
	if unsupported(err) {
		return renameIfAbsent(old, new)
	}
	return linkError("rename", old, new, err)
}

func (osSystem) exchange(a, b string) error {
	err := unix.RenamexNp(a, b, unix.RENAME_SWAP)
	if unsupported(err) {
		err = errors.ErrUnsupported
	}
	return linkError("exchange", a, b, err)
}
