//go:build unix

package storage

import (
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// folder is an open directory. It stays the same directory even if its path leads
// elsewhere by then.
type folder struct{ fd int }

// openFolder opens a directory, or the one that a link leads to.
func openFolder(name string) (folder, error) {
	return folder{unix.AT_FDCWD}.openAs(name, 0)
}

// open opens a directory in d, and refuses a link.
func (d folder) open(name string) (folder, error) { return d.openAs(name, unix.O_NOFOLLOW) }

func (d folder) openAs(name string, flags int) (folder, error) {
	fd := -1
	err := retry(func() (err error) {
		fd, err = unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|flags, 0)
		return err
	})
	if err != nil {
		return folder{}, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return folder{fd}, nil
}

func (d folder) close() { unix.Close(d.fd) }

// identity distinguishes files and directories that exist at the same time.
type identity struct{ device, inode uint64 }

func (i identity) same(other identity) bool { return i == other }

// text returns the identity for a ticket. It has no device, whose number differs between
// machines.
func (i identity) text() string { return strconv.FormatUint(i.inode, 16) }

func (d folder) id() (identity, error) {
	var s unix.Stat_t
	if err := retry(func() error { return unix.Fstat(d.fd, &s) }); err != nil {
		return identity{}, os.NewSyscallError("fstat", err)
	}
	return identity{uint64(s.Dev), uint64(s.Ino)}, nil
}

// isDir reports whether an entry is a directory and not a link to one.
func (d folder) isDir(name string) (bool, error) {
	var s unix.Stat_t
	err := retry(func() error { return unix.Fstatat(d.fd, name, &s, unix.AT_SYMLINK_NOFOLLOW) })
	return err == nil && s.Mode&unix.S_IFMT == unix.S_IFDIR, err
}

// remove removes an empty directory if dir is true, and otherwise a file or a link.
func (d folder) remove(name string, dir bool) error {
	flags := 0
	if dir {
		flags = unix.AT_REMOVEDIR
	}
	return retry(func() error { return unix.Unlinkat(d.fd, name, flags) })
}

func (d folder) entries() ([]fs.DirEntry, error) {
	f, err := d.file()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}

// sync makes the entries durable.
func (d folder) sync() error {
	f, err := d.file()
	if err != nil {
		return err
	}
	defer f.Close()
	return syncFile(f)
}

// file opens the directory again as a file.
func (d folder) file() (*os.File, error) {
	again, err := d.openAs(".", 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(again.fd), "."), nil
}
