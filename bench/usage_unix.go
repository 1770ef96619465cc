//go:build unix

package main

import (
	"io/fs"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// maxRSS says that a peak is that of the whole life of the process, so growth that stays
// below an earlier peak is missed.
const maxRSS = "maxrss"

func rusage() (u unix.Rusage) {
	// Getrusage fails only for a bad argument.
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

// settle waits until the disk has written everything.
func settle() { unix.Sync() }

// allocated returns the space on the disk of everything below dir. A file with several
// names counts once.
func allocated(dir string) (int64, error) {
	type file struct{ device, inode uint64 }
	seen := map[file]bool{}
	var n int64
	err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var s unix.Stat_t
		if err := unix.Lstat(name, &s); err != nil {
			return &fs.PathError{Op: "lstat", Path: name, Err: err}
		}
		id := file{uint64(s.Dev), s.Ino}
		if !seen[id] {
			seen[id] = true
			n += s.Blocks * 512
		}
		return nil
	})
	return n, err
}
