//go:build unix

package testenv

import (
	"syscall"
	"time"
)

// CPUTime returns the CPU time that this operating-system process has used, or 0 where that
// is not known.
func CPUTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
