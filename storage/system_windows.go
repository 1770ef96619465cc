package storage

import (
	"os"

	"golang.org/x/sys/windows"
)

// room returns how many bytes the caller may add, within its quota.
func room(dir string) (int64, error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, nil, nil); err != nil {
		return 0, &os.PathError{Op: "GetDiskFreeSpaceEx", Path: dir, Err: err}
	}
	return bytesOf(free, 1), nil
}
