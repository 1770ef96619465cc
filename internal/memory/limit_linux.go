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

// limit returns the memory that the machine and the control group allow the process.
var limit = sync.OnceValue(func() int64 {
	n := int64(math.MaxInt64)
	var s unix.Sysinfo_t
	if err := unix.Sysinfo(&s); err == nil {
		n = min(n, bytesOf(uint64(s.Totalram), uint64(s.Unit)), math.MaxInt64)
		if swap := bytesOf(uint64(s.Totalswap), uint64(s.Unit)); swap < math.MaxInt64-n {
			n += swap
		}
	}
	return min(n, ownGroup().limit)
})

// ownGroup returns the control group with the smallest limit for the process.
var ownGroup = sync.OnceValue(func() group { return groupOf("/proc/self/cgroup", "/sys/fs/cgroup") })

// inGroup returns how much memory that group holds and cannot release, for this process
// and others. It returns 0 if that is unknown, or if another limit is smaller.
func inGroup() int64 {
	if g := ownGroup(); g.limit <= limit() {
		return g.held()
	}
	return 0
}

func bytesOf(n, unit uint64) int64 {
	if unit == 0 {
		unit = 1
	}
	if n > math.MaxInt64/unit {
		return math.MaxInt64
	}
	return int64(n * unit)
}

// group is a control group with a memory limit.
type group struct {
	limit int64
	stat  string // file with the memory that it holds; "" if there is no limit
	anon  string // name of the line with the memory that belongs to no file
}

func (g group) held() int64 {
	if g.stat == "" {
		return 0
	}
	b, err := os.ReadFile(g.stat)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if name, value, _ := strings.Cut(strings.TrimSpace(line), " "); name == g.anon {
			n, _ := strconv.ParseInt(value, 10, 64)
			return n
		}
	}
	return 0
}

// groupOf returns the group with the smallest limit among the control group that a file
// names and the groups above it, in either version of control groups.
func groupOf(file, root string) group {
	least := group{limit: math.MaxInt64}
	b, err := os.ReadFile(file)
	if err != nil {
		return least
	}
	for line := range strings.Lines(string(b)) {
		// number:controllers:path; without controllers it is version 2.
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		dir, name, anon := root, "memory.max", "anon"
		switch {
		case fields[1] == "":
		case fields[1] == "memory":
			dir, name, anon = path.Join(root, "memory"), "memory.limit_in_bytes", "total_rss"
		default:
			continue
		}
		for at := path.Clean("/" + fields[2]); ; at = path.Dir(at) {
			if b, err := os.ReadFile(path.Join(dir, at, name)); err == nil {
				// "max" does not parse, and is no limit.
				if set, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && set < least.limit {
					least = group{set, path.Join(dir, at, "memory.stat"), anon}
				}
			}
			if at == "/" {
				break
			}
		}
	}
	return least
}
