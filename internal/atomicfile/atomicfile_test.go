//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package atomicfile

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// TestRemovesDeadFiles checks that only the files of a killed program for the same path
// are removed.
func TestRemovesDeadFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.safetensors")
	live, err := Create(path, 10)
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
	RemoveDead(path)
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
	if err := live.Commit(false); err != nil {
		t.Error(err)
	}
}

// TestCreatesDespiteCleaners creates and commits files while other goroutines clean up.
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
					RemoveDead(path)
				}
			}
		})
	}
	for i := range 300 {
		f, err := Create(path, 1)
		if err == nil {
			err = f.Commit(true)
		}
		if err != nil {
			t.Errorf("file %d: %v", i, err)
			break
		}
	}
	close(stop)
	cleaners.Wait()
}
