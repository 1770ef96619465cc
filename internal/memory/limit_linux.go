package memory

import (
	"math"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// limit returns what the machine and the control group of the process have.
var limit = sync.OnceValue(func() int64 {
	n := int64(math.MaxInt64)
	var s unix.Sysinfo_t
	if err := unix.Sysinfo(&s); err == nil {
		n = min(n, bytesOf(uint64(s.Totalram), uint64(s.Unit)), math.MaxInt64)
		if swap := bytesOf(uint64(s.Totalswap), uint64(s.Unit)); swap < math.MaxInt64-n {
			n += swap
		}
	}
	return min(n, groupLimit("/proc/self/cgroup", "/sys/fs/cgroup"))
})

func bytesOf(n, unit uint64) int64 {
	if unit == 0 {
		unit = 1
	}
	if n > math.MaxInt64/unit {
		return math.MaxInt64
	}
	return int64(n * unit)
}

// groupLimit returns the least limit of the control group that a file names, and of
// those above it, in either version of control groups.
func groupLimit(file, root string) int64 {
	n := int64(math.MaxInt64)
	b, err := os.ReadFile(file)
	if err != nil {
		return n
	}
	for line := range strings.Lines(string(b)) {
		// number:controllers:path; without controllers it is version 2.
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		dir, name := root, "memory.max"
		switch {
		case fields[1] == "":
		case fields[1] == "memory":
			dir, name = path.Join(root, "memory"), "memory.limit_in_bytes"
		default:
			continue
		}
		for group := path.Clean("/" + fields[2]); ; group = path.Dir(group) {
			if b, err := os.ReadFile(path.Join(dir, group, name)); err == nil {
				// "max" is no number, and no limit.
				if set, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil {
					n = min(n, set)
				}
			}
			if group == "/" {
				break
			}
		}
	}
	return n
}
