package storage

import (
	"os"
	"unsafe"
)

// system is the part of the operating system that changes what is on disk.
// Tests record it, and replay it up to any point.
type system interface {
	mkdir(name string) error
	// create creates a file that does not exist yet.
	create(name string, size int64) (sysFile, error)
	syncDir(name string) error
	// link gives a file a second name, and makes its bytes durable.
	link(old, new string) error
	// rename fails with fs.ErrExist if the new name exists.
	rename(old, new string) error
	// replace renames a file over another one, whose permissions it takes.
	replace(old, new string) error
	// exchange swaps two directories, or fails with errors.ErrUnsupported.
	exchange(a, b string) error
	removeAll(name string) error
	// lock takes an advisory lock on a directory until unlock is called or
	// the process ends. Where locks are not supported it does nothing.
	lock(name string) (unlock func(), err error)
	// locked reports whether somebody holds the lock of a directory.
	locked(name string) bool
}

type sysFile interface {
	writeAt(p []byte, off int64) error
	sync() error
	close() error
}

// osSystem is the real one; what differs between operating systems is in
// system_<os>.go.
type osSystem struct{}

func (osSystem) mkdir(name string) error     { return os.Mkdir(name, 0o777) }
func (osSystem) removeAll(name string) error { return os.RemoveAll(name) }

// directMin is the smallest file for which bypassing the page cache pays.
const directMin = 1 << 20

func (osSystem) create(name string, size int64) (sysFile, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	file := &osFile{buffered: f}
	if size < 0 || size >= directMin {
		// Not every file system has it; without, everything is buffered.
		file.direct, _ = openDirect(name)
	}
	return file, nil
}

type osFile struct {
	buffered *os.File
	direct   *os.File // the same file past the page cache, or nil
}

func (f *osFile) writeAt(p []byte, off int64) error {
	if f.direct != nil && pageAligned(p, off) {
		_, err := f.direct.WriteAt(p, off)
		if !isInvalid(err) {
			return err
		}
		// Alignment that this device does not accept: take the other way.
	}
	_, err := f.buffered.WriteAt(p, off)
	return err
}

func pageAligned(p []byte, off int64) bool {
	return len(p) > 0 && len(p)%PageSize == 0 && off%PageSize == 0 &&
		uintptr(unsafe.Pointer(unsafe.SliceData(p)))%PageSize == 0
}

func (f *osFile) sync() error { return f.buffered.Sync() }

func (f *osFile) close() error {
	if f.direct != nil {
		f.direct.Close() // wrote through; errors came from the writes
	}
	return f.buffered.Close()
}
