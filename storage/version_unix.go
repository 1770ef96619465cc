//go:build unix

package storage

import (
	"fmt"
	"io/fs"
	"syscall"
)

// version returns a version of the inode, the size and the time of the last write. It
// ignores the time of the last change: a file that gets a second name, such as one that a
// later checkpoint shares, is still the same.
func version(info fs.FileInfo) string {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return timeVersion(info)
	}
	return fmt.Sprintf("%x-%s", uint64(s.Ino), timeVersion(info))
}
