//go:build !unix

package storage

import "sync"

// Directories cannot be opened for syncing here; the file system journals them.
func (osSystem) syncDir(string) error { return nil }

// writing holds the temporary directories of this process: without advisory
// locks on directories, writers of other processes are not seen.
var writing sync.Map

func (osSystem) lock(name string) (func(), error) {
	writing.Store(name, true)
	return func() { writing.Delete(name) }, nil
}

func (osSystem) locked(name string) bool {
	_, ok := writing.Load(name)
	return ok
}

func isInvalid(error) bool { return false }

func locks(string) bool { return false }
