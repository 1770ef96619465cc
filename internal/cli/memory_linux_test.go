package cli

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/testenv"
)

// TestConvertMemory checks that convert holds only a small part of the state in memory.
// It runs first, because the system counts in a program's peak the peak of the program
// that started it.
func TestConvertMemory(t *testing.T) {
	testenv.NeedLong(t, "converts 300 MiB")
	dir := t.TempDir()
	t.Chdir(dir)
	writeLarge(t, "in.safetensors", 300<<20)
	program, err := os.Executable() // it is orbax under that name
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, "orbax"); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"version"},
		{"convert", "in.safetensors", "ck"},
		{"convert", "ck", "out.safetensors"},
		{"convert", "in.safetensors", "z", "--compression", "zstd"},
		{"convert", "z", "z.safetensors"},
		{"convert", "ck", "copy"},
		{"convert", "ck", "small", "--zarr2", "--plain-files", "--chunk-bytes", "1000000"},
		{"cat", "ck", "a[1:3, ::1000]"},
		{"cat", "--raw", "ck", "a"},
		{"cat", "ck", "a"},
		{"verify", "ck", "z"},
	} {
		cmd := exec.Command("./orbax", args...)
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		rss := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10 // Maxrss is in KiB on Linux
		t.Logf("%s of memory: %q", fault.Size(rss), args)
		if rss > 200<<20 {
			t.Errorf("%q: %s of memory, want less than 200 MiB", args, fault.Size(rss))
		}
	}
}
