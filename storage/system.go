package storage

import (
	"io/fs"
	"os"
	"slices"
)

// system is the part of the operating system that changes what is on disk.
// Tests record it, and replay it up to any point.
type system interface {
	mkdir(e entry) error
	// open opens a directory. It fails with fault.ErrLink if something else has taken
	// its place.
	open(e entry) (folder, error)
	// create creates a file that does not exist yet. One that is not small may
	// bypass the page cache.
	create(e entry, small bool) (sysFile, error)
	// syncDir syncs a directory, or a file just as well.
	syncDir(e entry) error
	// syncOwn syncs a directory below the directory top, or top itself for ".", and fails
	// with fault.ErrLink if it is reached by a link from top on.
	syncOwn(top, name string) error
	// link gives a file a second name.
	link(old string, new entry) error
	// rename fails with fs.ErrExist if the new name exists.
	rename(old, new entry) error
	// replace renames a file over another one.
	replace(old, new entry) error
	// exchange swaps two directories, or fails with errors.ErrUnsupported.
	exchange(a, b string) error
	// remove removes the directory, and of what is in it the items alone: if there
	// is anything else it fails with fault.ErrInvalidCheckpoint, and that stays. The
	// directory is none that a link leads to, nor are those that the items are in.
	remove(dir string, items []Item) error
	// removeEntry does so with an entry of a directory, which is none that a link
	// leads to either, and may be further below; items are in the entry.
	removeEntry(dir string, entry Item, items []Item) error
	// lock takes an advisory lock on a directory until unlock is called or
	// the process ends. Where locks are not supported it does nothing. It fails with
	// fs.ErrNotExist if the directory is not there any more when the lock is taken,
	// and with fault.ErrBusy if somebody else has it.
	lock(name string) (unlock func(), err error)
	// locked reports whether somebody holds the lock of a directory.
	locked(name string) bool
}

type sysFile interface {
	// write writes buffers one behind the other from off on.
	write(off int64, bufs ...[]byte) error
	// alignment is that of memory that can be written past the page cache.
	alignment() int
	// allocate sets room aside and makes it the size of the file, or fails with
	// errors.ErrUnsupported.
	allocate(size int64) error
	truncate(size int64) error
	chmod(perm fs.FileMode) error
	sync() error
	close() error
}

// osSystem is the real one; what differs between operating systems is in
// system_<os>.go.
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
		// Not every file system has it; without, everything is buffered.
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
		// Alignment that this device does not accept: take the other way.
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

// skip returns what is left of buffers after their first n bytes.
func skip(bufs [][]byte, n int64) [][]byte {
	for len(bufs) > 0 && n >= int64(len(bufs[0])) {
		n -= int64(len(bufs[0]))
		bufs = bufs[1:]
	}
	if n > 0 {
		bufs = slices.Clone(bufs) // the caller's stay as they are
		bufs[0] = bufs[0][n:]
	}
	return bufs
}

func (f *osFile) truncate(size int64) error { return f.buffered.Truncate(size) }

func (f *osFile) chmod(perm fs.FileMode) error { return f.buffered.Chmod(perm) }

func (f *osFile) sync() error { return f.buffered.Sync() }

func (f *osFile) close() error {
	if f.direct != nil {
		f.direct.Close() // wrote through; errors came from the writes
	}
	return f.buffered.Close()
}
