//go:build unix

package transfer

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/go-orbax/orbax/internal/heap"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage"
)

// TestManyFiles writes and reads far more files than a process may have open,
// in a process of its own.
func TestManyFiles(t *testing.T) {
	if _, _, ok := testenv.Child(); !ok {
		cmd := exec.Command(os.Args[0], "-test.run=^TestManyFiles$", "-test.v")
		testenv.SetChild(cmd, "many files", "")
		if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
			cmd.Env = append(cmd.Env, "TMPDIR=/dev/shm") // syncing thousands of files takes long on a disk
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	limit := unix.Rlimit{Cur: 40, Max: 40}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Skip(err)
	}
	n := testenv.Pick(5000, 500)
	s, dir := stage(t)
	var names []string
	var items []Item
	for i := range n {
		names = append(names, fmt.Sprintf("leaf%d/c/%d", i/10, i))
		items = append(items, itemOf("x", noise(40, uint64(i)), 0))
	}
	if err := new(Engine).WriteFiles(t.Context(), s, names, items); err != nil {
		t.Fatal(err)
	}
	commit(t, s)
	var extents []Extent
	for _, name := range names {
		extents = append(extents, Extent{name, 0, 40})
	}
	for i, b := range readBack(t, dir, extents) {
		if string(b) != string(noise(40, uint64(i))) {
			t.Fatalf("file %d differs", i)
		}
	}
}

// TestMemoryIsBounded moves half a GiB, by small and large values, plain and
// through buffers.
func TestMemoryIsBounded(t *testing.T) {
	testenv.NeedLong(t, "moves 2 GiB")
	const limit = 128 << 20
	state := noise(512<<20, 1)
	for _, size := range []int{2000, 100 << 10, 8 << 20, 50 << 20} {
		s, dir := stage(t)
		var items []Item
		for at := 0; at < len(state); at += size {
			items = append(items, itemOf("x", state[at:min(len(state), at+size)], 0))
		}
		var extents []Extent
		runtime.GC()
		used := heap.Peak(func() {
			var err error
			if extents, err = new(Engine).WritePacked(t.Context(), s, "f", items); err != nil {
				t.Fatal(err)
			}
		})
		t.Logf("values of %d bytes: writing takes %d MiB", size, used>>20)
		if used > limit {
			t.Errorf("writing values of %d bytes takes %d MiB", size, used>>20)
		}
		commit(t, s)
		for _, direct := range []bool{true, false} {
			var reads []Read
			for i, e := range extents {
				r := Read{Leaf: "x", Extent: e, Done: func([]byte) error { return nil }}
				if at := i * size; direct {
					r.Dst = state[at : at+int(e.Length)]
				}
				reads = append(reads, r)
			}
			used := heap.Peak(func() {
				if err := new(Engine).ReadAll(t.Context(), storage.At(storage.Local(), dir), reads); err != nil {
					t.Fatal(err)
				}
			})
			t.Logf("values of %d bytes: reading, direct %v, takes %d MiB", size, direct, used>>20)
			if used > limit {
				t.Errorf("reading values of %d bytes, direct %v, takes %d MiB", size, direct, used>>20)
			}
		}
		os.RemoveAll(dir)
	}
}
