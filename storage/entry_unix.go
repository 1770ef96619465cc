//go:build unix

package storage

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// dir returns the descriptor of the directory that the name is relative to.
func (e entry) dir() int {
	if e.in == nil {
		return unix.AT_FDCWD
	}
	return e.in.fd
}

// openFile opens a file. In an open directory it does not follow a link with that name.
func (e entry) openFile(flags int, perm uint32) (*os.File, error) {
	if e.in != nil {
		flags |= unix.O_NOFOLLOW
	}
	fd := -1
	err := retry(func() (err error) {
		fd, err = unix.Openat(e.dir(), e.name, flags|unix.O_CLOEXEC, perm)
		return err
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: e.path(), Err: err}
	}
	return os.NewFile(uintptr(fd), e.path()), nil
}

// perm returns the permissions of a regular file.
func (e entry) perm() (perm fs.FileMode, regular bool) {
	var s unix.Stat_t
	err := retry(func() error { return unix.Fstatat(e.dir(), e.name, &s, unix.AT_SYMLINK_NOFOLLOW) })
	return fs.FileMode(s.Mode) & fs.ModePerm, err == nil && s.Mode&unix.S_IFMT == unix.S_IFREG
}

// id returns the identity of the file or directory with the name.
func (e entry) id() (identity, error) {
	var s unix.Stat_t
	if err := retry(func() error { return unix.Fstatat(e.dir(), e.name, &s, unix.AT_SYMLINK_NOFOLLOW) }); err != nil {
		return identity{}, &os.PathError{Op: "stat", Path: e.path(), Err: err}
	}
	return identity{uint64(s.Dev), uint64(s.Ino)}, nil
}

// exists reports whether the name exists.
func (e entry) exists() bool {
	var s unix.Stat_t
	return retry(func() error { return unix.Fstatat(e.dir(), e.name, &s, unix.AT_SYMLINK_NOFOLLOW) }) == nil
}

func (osSystem) mkdir(e entry) error {
	err := retry(func() error { return unix.Mkdirat(e.dir(), e.name, 0o777) })
	if err != nil {
		return &os.PathError{Op: "mkdir", Path: e.path(), Err: err}
	}
	return nil
}

// renameOver renames a file or a directory, over an existing one if there is one.
func renameOver(old, new entry) error {
	err := retry(func() error { return unix.Renameat(old.dir(), old.name, new.dir(), new.name) })
	return linkError("rename", old.path(), new.path(), err)
}
