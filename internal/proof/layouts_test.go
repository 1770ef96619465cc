package proof_test

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/internal/proof"
	"github.com/go-orbax/orbax/storage"
)

// unzip unpacks one of the directories that Orbax, TensorStore or zarr-python wrote.
func unzip(t *testing.T, file, dir string) {
	t.Helper()
	z, err := zip.OpenReader(file)
	must(t, err)
	defer z.Close()
	for _, f := range z.File {
		name := filepath.Join(dir, f.Name)
		if strings.HasSuffix(f.Name, "/") {
			must(t, os.MkdirAll(name, 0o777))
			continue
		}
		must(t, os.MkdirAll(filepath.Dir(name), 0o777))
		r, err := f.Open()
		must(t, err)
		data, err := io.ReadAll(r)
		must(t, err)
		must(t, os.WriteFile(name, data, 0o666))
	}
}

var must = orbaxtest.Must

// checkpointIn returns the directory of the checkpoint that a file has, by the document
// beside it, and whether it is of Orbax.
func checkpointIn(t *testing.T, file, dir string) (ck string, ofOrbax bool) {
	t.Helper()
	doc, err := os.ReadFile(strings.TrimSuffix(file, ".zip") + ".json")
	must(t, err)
	var row struct{ Open string }
	must(t, json.Unmarshal(doc, &row))
	ck = filepath.Join(dir, filepath.FromSlash(row.Open))
	info, err := os.Stat(ck)
	must(t, err)
	if !info.IsDir() {
		return filepath.Dir(ck), false
	}
	writer, _, _ := strings.Cut(filepath.Base(file), "_")
	return ck, writer != "bare" && writer != "python" && writer != "safetensors"
}

func look(l func(storage.Store) storage.Look, dir string) ([]storage.Item, error) {
	return l(storage.Local())(context.Background(), filepath.ToSlash(dir))
}

// count returns how many entries are below a directory.
func count(t *testing.T, dir string) int {
	t.Helper()
	n := -1
	must(t, filepath.WalkDir(dir, func(string, os.DirEntry, error) error { n++; return nil }))
	return n
}

// All that Orbax wrote is recognised to the last file; what other programs wrote is not
// taken for it.
func TestLayouts(t *testing.T) {
	files, err := filepath.Glob("../../interop/layouts/testdata/layouts/*.zip")
	must(t, err)
	if len(files) < 50 {
		t.Fatalf("%d layouts", len(files))
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".zip")
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			unzip(t, file, dir)
			ck, ofOrbax := checkpointIn(t, file, dir)
			kind := proof.Checkpoint
			if strings.HasSuffix(name, "partial_open") {
				kind = proof.Session
			}
			items, err := look(kind, ck)
			if !ofOrbax {
				if !errors.Is(err, fault.ErrInvalidCheckpoint) {
					t.Fatalf("%v, %v", items, err)
				}
				return
			}
			must(t, err)
			if want := count(t, ck); len(items) != want {
				t.Errorf("%d of %d entries", len(items), want)
			}
			// A stranger in any directory of it keeps it.
			must(t, filepath.WalkDir(ck, func(sub string, d os.DirEntry, err error) error {
				if err != nil || !d.IsDir() {
					return err
				}
				stranger := filepath.Join(sub, "notes.txt")
				must(t, os.WriteFile(stranger, []byte("mine"), 0o666))
				if _, err := look(kind, ck); !errors.Is(err, fault.ErrInvalidCheckpoint) || !strings.Contains(err.Error(), filepath.Base(sub)) && sub != ck {
					t.Errorf("with a file in %s: %v", sub, err)
				}
				return os.Remove(stranger)
			}))
		})
	}
}
