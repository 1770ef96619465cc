package orbaxtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/storage"
)

// WriteFile writes a file of text.
func WriteFile(t testing.TB, name, text string) {
	t.Helper()
	Must(t, os.WriteFile(name, []byte(text), 0o666))
}

// Remove returns a function that removes an entry of a directory, and all below it:
// damage for the tables of tests.
func Remove(name string) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		Must(t, os.RemoveAll(filepath.Join(dir, name)))
	}
}

// Names returns the names in a directory, in order.
func Names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	Must(t, err)
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Temporary returns those of the names in a directory that unfinished checkpoints have.
func Temporary(t testing.TB, dir string) []string {
	t.Helper()
	return slices.DeleteFunc(Names(t, dir), func(name string) bool { return !strings.Contains(name, storage.TempMarker) })
}

// ReadFiles returns the contents of all files below a directory, by their names in it,
// with slashes.
func ReadFiles(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	Must(t, filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		all[filepath.ToSlash(rel)], err = os.ReadFile(name)
		return err
	}))
	return all
}
