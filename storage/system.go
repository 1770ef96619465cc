package storage

import (
	"io/fs"
	"os"
	"slices"
)

// system has the calls of the operating system that change the disk. Tests record them,
// and replay them up to any point.
type system interface {
	mkdir(e entry) error
	// open opens a directory. It fails with fault.ErrLink if something else has taken its
	// place.
	open(e entry) (folder, error)
	// create creates a file that does not exist yet. If small is false, writes may bypass
	// the page cache.
	create(e entry, small bool) (sysFile, error)
	// syncDir syncs a directory or a file.
	syncDir(e entry) error
	// syncOwn syncs a directory below top, or top itself for ".". It fails with
	// fault.ErrLink if a link leads to the directory from top on.
	syncOwn(top, name string) error
	// link gives a file a second name.
	link(old string, new entry) error
	// rename fails with fs.ErrExist if the new name exists.
	rename(old, new entry) error
	// replace renames a file over another one.
	replace(old, new entry) error
	// exchange swaps two directories, or fails with errors.ErrUnsupported.
	exchange(a, b string) error
	// remove removes the directory dir and the items in it. It stops at any other entry,
	// which stays, and fails with fault.ErrInvalidCheckpoint. No link may lead to dir or
	// to the directories of the items.
	remove(dir string, items []Item) error
	// removeEntry removes an entry somewhere below dir in the same way; items are in the
	// entry. No link may lead to the entry either.
	removeEntry(dir string, entry Item, items []Item) error
	// lock takes an advisory lock on a directory until unlock is called or the process
	// ends. Where locks are not supported it does nothing. It fails with fs.ErrNotExist
	// if the directory is gone when the lock is taken, and with fault.ErrBusy if another
	// writer has the lock.
	lock(name string) (unlock func(), err error)
	// locked reports whether the lock of a directory is held.
	locked(name string) bool
}

type sysFile interface {
	// write writes buffers one after the other, beginning at off.
	write(off int64, bufs ...[]byte) error
	// alignment returns the alignment of memory that can be written past the page cache.
	alignment() int
	// allocate reserves room and makes it the size of the file, or fails with
	// errors.ErrUnsupported.
	allocate(size int64) error
	truncate(size int64) error
	chmod(perm fs.FileMode) error
	sync() error
	close() error
}

// osSystem is the real system. The files system_<os>.go have the differences between
// operating systems.
type osSystem struct {
	removing func(name string) // called before each removal, if not nil
}

func (osSystem) create(e entry, small bool) (sysFile, error) {
	f, err := e.openFile(os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	file := &osFile{buffered: f, align: PageSize}
	if !small {
		// On file systems without direct writes everything is buffered.
		file.direct, file.align, _ = openDirect(e, f)
	}
	return file, nil
}

type osFile struct {
	buffered *os.File
	direct   *os.File // the same file past the page cache, or nil
	align    int      // of memory for direct
}

func (f *osFile) alignment() int { return f.align }

func (f *osFile) write(off int64, bufs ...[]byte) error {
	if f.direct != nil && aligned(f.align, off, bufs...) {
		n, err := writeVector(f.direct, off, bufs)
		if !isInvalid(err) {
			return err
		}
		// The device does not accept the alignment: use the page cache.
		off, bufs = off+n, skip(bufs, n)
	}
	for _, b := range bufs {
		if err := f.writeAt(b, off); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

func (f *osFile) writeAt(p []byte, off int64) error {
	if f.direct != nil && aligned(f.align, off, p) {
		_, err := f.direct.WriteAt(p, off)
		if !isInvalid(err) {
			return err
		}
	}
	_, err := f.buffered.WriteAt(p, off)
	return err
}

// skip returns the buffers without their first n bytes.
func skip(bufs [][]byte, n int64) [][]byte {
	for len(bufs) > 0 && n >= int64(len(bufs[0])) {
		n -= int64(len(bufs[0]))
		bufs = bufs[1:]
	}
	if n > 0 {
		bufs = slices.Clone(bufs) // the caller's buffers stay as they are
		bufs[0] = bufs[0][n:]
	}
	return bufs
}

func (f *osFile) truncate(size int64) error { return f.buffered.Truncate(size) }

func (f *osFile) chmod(perm fs.FileMode) error { return f.buffered.Chmod(perm) }

func (f *osFile) sync() error { return f.buffered.Sync() }

func (f *osFile) close() error {
	if f.direct != nil {
		f.direct.Close() // nothing is buffered; the writes have returned their errors
	}
	return f.buffered.Close()
}
