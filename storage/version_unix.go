//go:build unix

package storage

import (
	"fmt"
	"io/fs"
	"syscall"
)

// version is made of the inode, the size and the time of the last write. The time of the
// last change is not in it: a file that gets another name, as when a later checkpoint
// shares it, is still the same.
func version(info fs.FileInfo) string {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return timeVersion(info)
	}
	return fmt.Sprintf("%x-%s", uint64(s.Ino), timeVersion(info))
}
