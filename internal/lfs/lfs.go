// Package lfs recognises the pointers of Git LFS: small texts that a clone has in place
// of large files that were not fetched.
package lfs

import (
	"bytes"
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
)

// MaxSize is larger than every pointer, by the specification of Git LFS.
const MaxSize = 1024

// IsPointer reports whether b, the contents of a file, is a pointer.
func IsPointer(b []byte) bool {
	return len(b) < MaxSize && bytes.HasPrefix(b, []byte("version https://git-lfs"))
}

// Error returns the error about a file with a pointer in its place.
func Error(name string) error {
	return fmt.Errorf("%w: %s is a Git LFS pointer, not the file itself; run `git lfs pull`", fault.ErrNotFetched, name)
}
