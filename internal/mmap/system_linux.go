package mmap

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Without noReserve Linux counts private memory as if all of it would be written to, and
// refuses sizes above its memory.
const noReserve = unix.MAP_NORESERVE

// defaultMappings is the default number of mappings that Linux allows a process.
const defaultMappings = 65530

// maxMappings is half of the number that the system allows the process.
var maxMappings = sync.OnceValue(func() int {
	n := defaultMappings
	if b, err := os.ReadFile("/proc/sys/vm/max_map_count"); err == nil {
		if set, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && set >= 0 {
			n = set
		}
	}
	return n / 2
})

// Populate reads the pages of mapped memory that are not in memory yet, many at a time.
// Touching them would read few at a time. For a page that the file no longer has, or that
// cannot be read, Populate returns an error, where touching it would be a fault.
func Populate(memory []byte) error {
	if len(memory) == 0 {
		return nil
	}
	lead := uintptr(unsafe.Pointer(unsafe.SliceData(memory))) % uintptr(pageSize)
	start := unsafe.Add(unsafe.Pointer(unsafe.SliceData(memory)), -int(lead))
	err := unix.Madvise(unsafe.Slice((*byte)(start), len(memory)+int(lead)), unix.MADV_POPULATE_READ)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return nil // a kernel before 5.14
	}
	return os.NewSyscallError("madvise", err)
}
