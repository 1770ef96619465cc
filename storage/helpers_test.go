package storage_test

import (
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/storage"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var must = orbaxtest.Must

// compareGolden compares a trace with a file of testdata.
func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	golden := filepath.Join(filepath.Dir(file), "testdata", name)
	if *update {
		must(t, os.WriteFile(golden, []byte(got), 0o666))
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	if got != string(want) {
		t.Errorf("%s differs (rewrite with -update); got\n%s", name, got)
	}
}

// names returns the names in a directory.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// scratch returns a temporary directory, in memory where the system has such a
// place: for tests that make thousands of files and sync none.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "orbax-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// temporary returns the entries of dir that are no finished checkpoints.
func temporary(t *testing.T, dir string) []string {
	t.Helper()
	return slices.DeleteFunc(names(t, dir), func(s string) bool { return !strings.Contains(s, storage.TempMarker) })
}
