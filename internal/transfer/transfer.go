// Package transfer moves bytes between memory and the files of a store: a plan
// goes in, one engine runs it, in parallel and within a budget of memory.
//
// A plan is plain data. It knows files, offsets and lengths; what the bytes
// mean is in the functions that it carries: an Item appends its encoded form to
// a buffer, a Read hands what it has read to its owner, who verifies and
// decodes it.
package transfer

import (
	"runtime"
	"unsafe"

	"github.com/go-orbax/orbax/storage"
)

// unitBytes is what the engine aims to write or read at once: large enough for
// the full rate of a disk, small enough that a few in flight are little memory.
const unitBytes = 8 << 20

// budgetBytes bounds the engine's buffers. One item that needs more than the
// budget is moved alone.
const budgetBytes = 64 << 20

// workers returns how many units are in flight: enough to keep every core
// encoding while the device has something queued.
func workers(units int) int {
	return max(1, min(runtime.GOMAXPROCS(0)+2, units, budgetBytes/unitBytes))
}

// Extent is where a value lies in a file.
type Extent struct {
	File           string
	Offset, Length int64
}

// pageBuffer returns an empty buffer of at least the given capacity that
// starts on a page, so that the file system can take it without a copy.
func pageBuffer(capacity int) []byte {
	b := make([]byte, capacity+storage.PageSize)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) % storage.PageSize
	return b[skip : skip : skip+uintptr(capacity)]
}

// roundUp returns n rounded up to a whole number of pages.
func roundUp(n int) int {
	return (n + storage.PageSize - 1) &^ (storage.PageSize - 1)
}
