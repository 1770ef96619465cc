package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// alignedMemory returns memory that starts on a page.
func alignedMemory(n int) ([]byte, error) {
	return unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_POPULATE)
}

// createDirect makes a file with allocated space on the disk. It is written past the page
// cache.
func createDirect(path string, size int64) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_DIRECT, 0o666)
	if err != nil {
		return nil, unsupported(err)
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openDirect opens a file for reading past the page cache.
func openDirect(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return nil, unsupported(err)
	}
	return f, nil
}

// unsupported marks the error of a file system without direct access.
func unsupported(err error) error {
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%w: the file system has no O_DIRECT: %w", errors.ErrUnsupported, err)
	}
	return err
}
