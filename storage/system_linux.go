package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// room returns how many bytes this process may add.
func room(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(dir, &s) }); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	n, ok := free(&s)
	if !ok {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: errors.ErrUnsupported}
	}
	return n, nil
}

// zfsMagic is the type number of ZFS, which is not part of Linux.
const zfsMagic = 0x2fc12fc1

// free returns how many bytes this process can add to a file system. It returns false for
// file systems without a count or a limit, and for those that compress.
func free(s *unix.Statfs_t) (int64, bool) {
	if s.Blocks == 0 || s.Type == unix.BTRFS_SUPER_MAGIC || s.Type == zfsMagic {
		return 0, false
	}
	blocks := s.Bavail
	if os.Geteuid() == 0 { // root may use the reserved blocks
		blocks = s.Bfree
	}
	// The counts are in fragments; Bsize is the size of transfers.
	return bytesOf(blocks, uint64(max(s.Frsize, 0))), true
}

func (osSystem) rename(old, new entry) error {
	err := unix.Renameat2(old.dir(), old.name, new.dir(), new.name, unix.RENAME_NOREPLACE)
	if unsupported(err) {
		return renameIfAbsent(old, new)
	}
	return linkError("rename", old.path(), new.path(), err)
}

func (osSystem) exchange(a, b string) error {
	err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	if unsupported(err) {
		err = errors.ErrUnsupported
	}
	return linkError("exchange", a, b, err)
}

// movable returns EXDEV if the directory dir cannot be renamed because it is in a lower
// layer of overlayfs. To find out, it tries a rename that cannot succeed: to the
// directory beside, which it makes non-empty for that time. An error that matches
// errProbe reports that beside is still not empty.
func movable(dir string, beside *openDir) error {
	var s unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(beside.fd, &s) }); err != nil || s.Type != unix.OVERLAYFS_SUPER_MAGIC {
		return err
	}
	if err := (osSystem{}).mkdir(entry{beside, probeDir}); err != nil {
		return err
	}
	err := retry(func() error { return unix.Rename(dir, beside.path) })
	if err == nil { // the file system broke the rules of rename
		return os.Rename(beside.path, dir)
	}
	if rerr := beside.remove(probeDir, true); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", errProbe, rerr)
	}
	return err
}
