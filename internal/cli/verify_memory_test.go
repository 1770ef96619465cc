package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/go-orbax/orbax"
)

// heapAtWrite measures the heap in use whenever something is printed.
type heapAtWrite struct{ last uint64 }

func (h *heapAtWrite) Write(p []byte) (int, error) {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	h.last = m.HeapAlloc
	return len(p), nil
}

// TestVerifyMemory checks that verify keeps nothing in memory of the steps that it has
// printed.
func TestVerifyMemory(t *testing.T) {
	const few, many = 10, 60
	dir := t.TempDir()
	state := map[string]any{}
	for i := range 300 {
		state[fmt.Sprintf("leaf_with_a_long_name_%03d", i)] = i
	}
	run, first := filepath.Join(dir, "run"), filepath.Join(dir, "run", "0")
	if err := orbax.Save(t.Context(), first, state); err != nil {
		t.Fatal(err)
	}
	heap := func(steps int, flags ...string) uint64 {
		for i := range steps {
			step := filepath.Join(run, fmt.Sprint(i))
			if _, err := os.Stat(step); err == nil {
				continue
			}
			if err := os.CopyFS(step, os.DirFS(first)); err != nil {
				t.Fatal(err)
			}
		}
		cmd, out := (Config{}).newVerify(), &heapAtWrite{}
		cmd.SetArgs(append(flags, run))
		cmd.SetOut(out)
		cmd.SetErr(io.Discard)
		if err := cmd.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		return out.last
	}
	for _, flags := range [][]string{nil, {"--json"}} {
		small := heap(few, flags...)
		large := heap(many, flags...)
		t.Logf("%q: %d bytes for %d steps, %d for %d", flags, small, few, large, many)
		if large > small+500_000 {
			t.Errorf("%q: %d bytes are in use after %d steps, %d after %d", flags, large, many, small, few)
		}
		for i := few; i < many; i++ {
			os.RemoveAll(filepath.Join(run, fmt.Sprint(i)))
		}
	}
}
