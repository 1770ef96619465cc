package main

import (
	"bytes"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// memoryNow returns the resident memory of this process, and resets the peak to it if the
// kernel permits. source is the argument for memoryPeak.
func memoryNow() (n int64, source string) {
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		return memoryPeak(maxRSS), maxRSS
	}
	return status("VmRSS:"), "VmHWM"
}

func memoryPeak(source string) int64 {
	if source == "VmHWM" {
		return status("VmHWM:")
	}
	return maxRSSBytes()
}

// status returns a size from the kernel's description of this process.
func status(field string) int64 {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(data, []byte(field))
	var kib int64
	fmt.Sscan(string(rest), &kib)
	return kib << 10
}

// evict takes the files below dir out of the page cache. Unlike dropping the whole cache
// it needs no privileges, and leaves programs and libraries in memory, the Python
// interpreter's among them.
func evict(dir string) error {
	return eachFile(dir, func(f *os.File) error {
		if err := f.Sync(); err != nil { // dirty pages stay
			return err
		}
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
}
