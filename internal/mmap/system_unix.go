//go:build unix

package mmap

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const private = unix.MAP_PRIVATE | noReserve

func reserve(n int) ([]byte, error) {
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(n), unix.PROT_NONE, private|unix.MAP_ANON)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return unsafe.Slice((*byte)(p), n), nil
}

func mapFile(at []byte, f *os.File, off int64) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	cerr := conn.Control(func(fd uintptr) {
		_, err = unix.MmapPtr(int(fd), off, unsafe.Pointer(unsafe.SliceData(at)), uintptr(len(at)),
			unix.PROT_READ|unix.PROT_WRITE, private|unix.MAP_FIXED)
	})
	if cerr != nil {
		return cerr
	}
	if err != nil {
		return &os.PathError{Op: "mmap", Path: f.Name(), Err: err}
	}
	return nil
}

// retire replaces all mappings in one step, so that another mapping of the process never
// gets the addresses.
func retire(memory []byte) error {
	_, err := unix.MmapPtr(-1, 0, unsafe.Pointer(unsafe.SliceData(memory)), uintptr(len(memory)),
		unix.PROT_NONE, private|unix.MAP_ANON|unix.MAP_FIXED)
	return os.NewSyscallError("mmap", err)
}

func release(memory []byte) error {
	err := unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(memory)), uintptr(len(memory)))
	return os.NewSyscallError("munmap", err)
}
