package storage_test

import (
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/go-orbax/orbax/internal/orbaxtest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The helpers of all tests, by the short names that they have here.
var (
	must      = orbaxtest.Must
	names     = orbaxtest.Names
	temporary = orbaxtest.Temporary // entries that are no finished checkpoints
)

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
