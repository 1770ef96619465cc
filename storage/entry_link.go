//go:build unix && !solaris

package storage

import "golang.org/x/sys/unix"

func (osSystem) link(old string, new entry) error {
	err := retry(func() error { return unix.Linkat(unix.AT_FDCWD, old, new.dir(), new.name, 0) })
	return linkError("link", old, new.path(), err)
}
