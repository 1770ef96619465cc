//go:build !linux

package mmap

const noReserve = 0

// maxMappings is a number that a process can be expected to have: systems other than
// Linux do not report it.
func maxMappings() int { return 1 << 15 }

// Populate does nothing on this system.
func Populate([]byte) error { return nil }
