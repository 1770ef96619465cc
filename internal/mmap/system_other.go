//go:build !linux

package mmap

const noReserve = 0

// maxMappings is what a process can be trusted to have: systems other than Linux
// do not tell.
func maxMappings() int { return 1 << 15 }

// Populate is a hint that this system does not take.
func Populate([]byte) error { return nil }
