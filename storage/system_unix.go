//go:build unix

package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-orbax/orbax/internal/fault"
)

func (osSystem) syncDir(e entry) error {
	d, err := e.openFile(os.O_RDONLY|nonblock, 0) // nonblock: it may have become a FIFO
	if err != nil {
		return err
	}
	return errors.Join(syncFile(d), d.Close())
}

// syncFile syncs a file or directory.
func syncFile(f *os.File) error {
	err := f.Sync()
	// Some network file systems refuse to sync directories; their metadata
	// operations are synchronous.
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		err = nil
	}
	return err
}

// lock uses flock on the directory itself: it goes away with the process and
// leaves no file behind.
func (osSystem) lock(name string) (func(), error) {
	d, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	err = flock(d, unix.LOCK_EX|unix.LOCK_NB)
	// A process that looks for writers holds a shared lock for a moment.
	for range 100 {
		if !errors.Is(err, unix.EWOULDBLOCK) {
			break
		}
		time.Sleep(time.Millisecond)
		err = flock(d, unix.LOCK_EX|unix.LOCK_NB)
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("%w: %w", fault.ErrBusy, err)
	}
	if noLocks(err) {
		err = nil
	}
	if err == nil {
		err = sameDir(d, name) // it may have been removed before the lock was taken
	}
	if err != nil {
		flock(d, unix.LOCK_UN)
		return nil, errors.Join(err, d.Close())
	}
	return func() {
		// Closing alone would leave the lock with a child process that was forked and has
		// not yet closed its copy of d.
		flock(d, unix.LOCK_UN)
		d.Close()
	}, nil
}

// sameDir returns fs.ErrNotExist unless d is the directory at name.
func sameDir(d *os.File, name string) error {
	is, err := d.Stat()
	if err != nil {
		return err
	}
	now, err := os.Lstat(name)
	if err == nil && !os.SameFile(is, now) {
		err = &os.PathError{Op: "lock", Path: name, Err: fs.ErrNotExist}
	}
	return err
}

// isNotEmpty reports whether an error means that a directory has entries.
func isNotEmpty(err error) bool { return errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) }

func (osSystem) locked(name string) bool {
	d, err := os.Open(name)
	if err != nil {
		return false
	}
	defer d.Close()
	// The lock is shared, so that two processes that look at a dead directory at once do
	// not take each other for its owner.
	return errors.Is(flock(d, unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// locks reports whether lock can lock a directory. Over NFS it cannot: an exclusive lock
// there needs a file that is open for writing.
func locks(dir string) bool {
	d, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer d.Close()
	err = flock(d, unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		flock(d, unix.LOCK_UN)
	}
	return err == nil || errors.Is(err, unix.EWOULDBLOCK)
}

func flock(f *os.File, how int) error {
	return retry(func() error { return unix.Flock(int(f.Fd()), how) })
}

// retry repeats a system call that signals interrupt.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

func noLocks(err error) bool {
	return errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOLCK) ||
		errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EBADF)
}

// isInUse returns false, because open directories can be renamed.
func isInUse(error) bool { return false }

func isInvalid(err error) bool { return errors.Is(err, unix.EINVAL) }

// unsupported reports whether the system or the file system does not know a flag of
// rename.
func unsupported(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP)
}
