package memory

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
)

func TestCheck(t *testing.T) {
	for _, n := range []int64{-1, 0, 1, Small} {
		if err := Check(n); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for _, n := range []int64{limit() + 1, 1 << 46, math.MaxInt64} {
		if err := Check(n); !errors.Is(err, fault.ErrNoMemory) {
			t.Errorf("%d bytes: %v", n, err)
		}
		if b, err := Bytes(n); b != nil || !errors.Is(err, fault.ErrNoMemory) {
			t.Errorf("%d bytes: %d, %v", n, len(b), err)
		}
	}
	if err := Covers(1<<20, math.MaxInt64>>10); !errors.Is(err, fault.ErrNoMemory) {
		t.Errorf("a product that does not fit: %v", err)
	}
	if b, err := Bytes(Small + 1); err != nil || len(b) != Small+1 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// The limits of resources count, and what is refused can be had once garbage is
// collected.
func TestResourceLimit(t *testing.T) {
	inChild(t, func() {
		const size = 300 << 20
		if _, err := Bytes(2 * size); !errors.Is(err, fault.ErrNoMemory) {
			t.Fatalf("twice the size: %v", err)
		}
		b, err := Bytes(size)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Bytes(size); !errors.Is(err, fault.ErrNoMemory) {
			t.Errorf("once more: %v", err)
		}
		b[size-1] = 1
	})
}

func TestGroupLimit(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return name
	}
	write("a/memory.max", "1000\n")
	write("a/b/memory.max", "max\n")
	write("a/b/c/memory.max", "4000\n")
	write("memory/x/memory.limit_in_bytes", "77\n")
	for groups, want := range map[string]int64{
		"0::/a/b\n":                    1000,
		"0::/a/b/c\n":                  1000,
		"0::/\n":                       math.MaxInt64,
		"0::/../elsewhere\n":           math.MaxInt64,
		"4:cpu:/a\n3:memory:/x/y\n":    77,
		"":                             math.MaxInt64,
		"nonsense\n" + "0::/a/b/c/d\n": 1000,
	} {
		file := write("cgroup", groups)
		if got := groupOf(file, root).limit; got != want {
			t.Errorf("%q: %d, want %d", strings.TrimSpace(groups), got, want)
		}
	}
	if got := groupOf(filepath.Join(root, "none"), root).limit; got != math.MaxInt64 {
		t.Errorf("no file: %d", got)
	}
	write("a/memory.stat", "anon 700\nfile 5000\n")
	write("memory/x/memory.stat", "rss 40\ntotal_rss 60\n")
	for groups, want := range map[string]int64{"0::/a/b/c\n": 700, "3:memory:/x/y\n": 60, "0::/a/b\n3:memory:/x\n": 60, "0::/\n": 0} {
		if got := groupOf(write("cgroup", groups), root).held(); got != want {
			t.Errorf("%q: %d bytes held, want %d", groups, got, want)
		}
	}
}
