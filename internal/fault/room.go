package fault

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
)

// Windows' ERROR_DISK_FULL and ERROR_HANDLE_DISK_FULL.
const (
	errorDiskFull       = syscall.Errno(112)
	errorHandleDiskFull = syscall.Errno(39)
)

// IsNoRoom reports whether an error of the system means that a disk or a quota is full.
func IsNoRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		runtime.GOOS == "windows" && (errors.Is(err, errorDiskFull) || errors.Is(err, errorHandleDiskFull))
}

// AsNoSpace makes an error that [IsNoRoom] accepts match [ErrNoSpace].
func AsNoSpace(err error) error {
	if !IsNoRoom(err) || errors.Is(err, ErrNoSpace) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrNoSpace, err)
}
