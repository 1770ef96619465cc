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
	return min(n, ownGroup().limit)
})

// ownGroup returns the control group that limits the process most.
var ownGroup = sync.OnceValue(func() group { return groupOf("/proc/self/cgroup", "/sys/fs/cgroup") })

// inGroup returns how much memory that group holds which it cannot give back, of this
// process and of others; 0 where that is not known, or another limit is less.
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

// group is a control group with a limit of memory.
type group struct {
	limit int64
	stat  string // the file with what it holds; "" if there is no limit
	anon  string // the line that says how much belongs to no file
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

// groupOf returns the one with the least limit of the control group that a file names and
// of those above it, in either version of control groups.
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
				// "max" is no number, and no limit.
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
