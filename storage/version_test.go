package storage_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/fstest"

	"github.com/go-orbax/orbax/storage"
)

// A version changes with the file, and not with its other names.
func TestVersion(t *testing.T) {
	dir := filepath.ToSlash(t.TempDir())
	name := dir + "/file"
	version := func() string {
		t.Helper()
		info, err := storage.Local().Stat(t.Context(), name)
		must(t, err)
		listed, err := storage.Local().List(t.Context(), dir)
		must(t, err)
		if listed[0].Version != info.Version || info.Version == "" {
			t.Errorf("Stat says %q, List says %q", info.Version, listed[0].Version)
		}
		return info.Version
	}
	must(t, os.WriteFile(name, []byte("1"), 0o666))
	first := version()
	if err := os.Link(name, dir+"/other"); err == nil && version() != first {
		t.Errorf("linked: %q, want %q", version(), first)
	}
	info, err := os.Stat(name)
	must(t, err)
	must(t, os.WriteFile(dir+"/new", []byte("2"), 0o666))
	must(t, os.Chtimes(dir+"/new", info.ModTime(), info.ModTime()))
	must(t, os.Rename(dir+"/new", name))
	if second := version(); second == first && runtime.GOOS != "windows" {
		t.Errorf("replaced by a file of the same size and time: %q", second)
	}
	must(t, os.WriteFile(name, []byte("33"), 0o666))
	if third := version(); third == first {
		t.Errorf("written anew: %q", third)
	}
	mem, err := storage.FS(fstest.MapFS{"x": {}}).Stat(t.Context(), "x")
	if err != nil || mem.Version != "" {
		t.Errorf("without a time: %q, %v; want no version", mem.Version, err)
	}
}
