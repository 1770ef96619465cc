//go:build unix

package memory

import "golang.org/x/sys/unix"

// probe reports whether the system would give the process n bytes now. The system takes
// account of the resource limits, and of the memory that it has promised to others.
func probe(n int64) bool {
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return false
	}
	return unix.MunmapPtr(p, uintptr(n)) == nil
}
