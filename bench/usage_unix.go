//go:build unix

package main

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// maxRSS says that a peak is that of the whole life of the process: growth is
// missed that stays below an earlier peak.
const maxRSS = "maxrss"

func rusage() (u unix.Rusage) {
	// It fails only for a bad argument.
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return u
}

func cpuSeconds() float64 {
	u := rusage()
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

func maxRSSBytes() int64 {
	n := int64(rusage().Maxrss)
	if runtime.GOOS != "darwin" {
		n <<= 10
	}
	return n
}

// settle waits until the disk has nothing left to do for us.
func settle() { unix.Sync() }
