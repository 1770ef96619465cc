//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package cli

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
)

// TestRemovesDeadFiles wants only files removed that a killed conversion to the same
// path has left.
func TestRemovesDeadFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.safetensors")
	live, err := createAtomic(path, 10)
	if err != nil {
		t.Fatal(err)
	}
	stays := []string{filepath.Base(live.Name()), ".x.safetensors.tmp-notes.md", ".x.safetensors.tmp-lowercas", ".y.safetensors.tmp-AAAAAAAA", "x.safetensors.tmp-AAAAAAAA"}
	for _, name := range append(stays[1:], ".x.safetensors.tmp-AAAAAAAA", ".x.safetensors.tmp-BBBBBBB2") {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, ".x.safetensors.tmp-CCCCCCCC"), 0o755); err != nil {
		t.Fatal(err)
	}
	stays = append(stays, ".x.safetensors.tmp-CCCCCCCC")
	removeDead(path)
	var left []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		left = append(left, e.Name())
	}
	slices.Sort(stays)
	if !slices.Equal(left, stays) {
		t.Errorf("left are %q, want %q", left, stays)
	}
	if err := live.commit(false); err != nil {
		t.Error(err)
	}
}

// TestCreatesDespiteCleaners creates and commits files while others clean.
func TestCreatesDespiteCleaners(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	stop := make(chan struct{})
	var cleaners sync.WaitGroup
	for range 2 {
		cleaners.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					removeDead(path)
				}
			}
		})
	}
	for i := range 300 {
		f, err := createAtomic(path, 1)
		if err == nil {
			err = f.commit(true)
		}
		if err != nil {
			t.Errorf("file %d: %v", i, err)
			break
		}
	}
	close(stop)
	cleaners.Wait()
}

// TestKilledConversion kills conversions to a file, and wants the next one to leave
// nothing but its result.
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
