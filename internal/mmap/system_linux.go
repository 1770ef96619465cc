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

// Without noReserve Linux counts private memory as if all of it would be written
// to, and refuses what is larger than its memory.
const noReserve = unix.MAP_NORESERVE

// defaultMappings is how many mappings Linux gives a process unless it is told
// otherwise.
const defaultMappings = 65530

// maxMappings is half of what the system allows the process.
var maxMappings = sync.OnceValue(func() int {
	n := defaultMappings
	if b, err := os.ReadFile("/proc/sys/vm/max_map_count"); err == nil {
		if set, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && set >= 0 {
			n = set
		}
	}
	return n / 2
})

// Populate reads the pages of mapped memory that are not in memory yet, many at a
// time, where touching them would read few. Pages that the file no longer has, or
// that cannot be read, are an error instead of a fault.
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
