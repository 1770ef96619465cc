//go:build !unix

package storage

import (
	"errors"
	"io/fs"
	"sync"
	"syscall"

	"github.com/go-orbax/orbax/internal/fault"
)

// Directories cannot be opened for syncing here; the file system journals them.
func (osSystem) syncDir(entry) error { return nil }

// writing has the temporary directories of this process. Without advisory locks on
// directories, writers of other processes are not seen.
var writing sync.Map

func (osSystem) lock(name string) (func(), error) {
	if _, taken := writing.LoadOrStore(name, true); taken {
		return nil, fault.ErrBusy
	}
	return func() { writing.Delete(name) }, nil
}

func (osSystem) locked(name string) bool {
	_, ok := writing.Load(name)
	return ok
}

// isNotEmpty reports whether an error means that a directory has entries.
func isNotEmpty(err error) bool {
	return errors.Is(err, errDirNotEmpty) || errors.Is(err, syscall.ENOTEMPTY)
}

// errDirNotEmpty is Windows' ERROR_DIR_NOT_EMPTY.
const errDirNotEmpty = syscall.Errno(145)

// isInUse reports whether an error can mean that another process has opened a directory,
// or a file in it.
func isInUse(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, errSharing)
}

// errSharing is Windows' ERROR_SHARING_VIOLATION.
const errSharing = syscall.Errno(32)

func isInvalid(error) bool { return false }

func locks(string) bool { return false }
