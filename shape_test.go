package orbax_test

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
)

// The shape of the source that docs/design.md promises.
const (
	maxFileLines    = 400
	maxHandlerFiles = 12 // what the author of a handler reads
)

// TestShape checks that files are of one concept each, as far as their length shows it,
// and that package handler stays what one can read at a sitting.
func TestShape(t *testing.T) {
	files := 0
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || len(name) > 1 && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(name)
		if n := bytes.Count(text, []byte("\n")); n > maxFileLines {
			t.Errorf("%s has %d lines, at most %d are wanted: move a concept to a file of its own", name, n, maxFileLines)
		}
		if path.Dir(name) == "handler" {
			files++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 || files > maxHandlerFiles {
		t.Errorf("package handler has %d files, from 1 to %d are wanted: what its authors need not read belongs to an internal package", files, maxHandlerFiles)
	}
}
