//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package cli

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/orbaxtest"
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
	if names := orbaxtest.Names(t, filepath.Dir(dst)); len(names) != 1 || names[0] != "x.safetensors" {
		t.Errorf("after %d kills there are %q, want x.safetensors alone", killed, names)
	}
	if err := orbaxCommand(t, "verify", dst).Run(); err != nil {
		t.Error(errors.Join(err))
	}
}
