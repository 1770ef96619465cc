//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package cli

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
)

// TestKilledConversion kills conversions to a file, and checks that the next conversion
// leaves only its result.
func TestKilledConversion(t *testing.T) {
	dir := t.TempDir()
	ck, dst := filepath.Join(dir, "ck"), filepath.Join(dir, "out", "x.safetensors")
	if err := orbax.Save(t.Context(), ck, map[string]any{"w": array.Of(make([]float32, 8<<20), 8<<20)}); err != nil {
		t.Fatal(err)
	}
	killed := 0
	for i := range 20 {
		cmd := orbaxCommand(t, "convert", ck, dst, "--overwrite")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 5 * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			killed++
		}
	}
	if killed == 0 {
		t.Skip("every conversion had ended before it was killed")
	}
	if out, err := orbaxCommand(t, "convert", ck, dst, "--overwrite").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	entries, err := os.ReadDir(filepath.Dir(dst))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != "x.safetensors" {
		t.Errorf("after %d kills there are %v, want x.safetensors alone", killed, entries)
	}
	if err := orbaxCommand(t, "verify", dst).Run(); err != nil {
		t.Error(errors.Join(err))
	}
}
