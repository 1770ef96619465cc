package partial_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/partial"
)

// If the data of two parts are exchanged, before the session is finalized or afterwards,
// the checkpoint that is made of the parts reports it.
func TestPartsInWrongPlaces(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		storage handler.StorageOptions
		data    string // the file with the data of a, in a part or in the checkpoint
	}{
		"database": {handler.StorageOptions{}, "state/ocdbt.process_0*/d/*"},
		"files":    {handler.StorageOptions{PlainFiles: true}, "state/?/c/0"},
	} {
		for _, before := range []bool{true, false} {
			path := filepath.Join(t.TempDir(), "ck")
			for i, leaf := range []string{"a", "b"} {
				must(t, partial.Save(t.Context(), path, map[string]any{leaf: large(1 + i)}, orbax.Storage(tc.storage)))
			}
			root := filepath.Join(path+".partial_save", "*")
			if !before {
				must(t, partial.Finalize(t.Context(), path))
				must(t, orbax.Verify(t.Context(), path))
				root = path
			}
			exchangeData(t, filepath.Join(root, filepath.FromSlash(tc.data)))
			if before {
				must(t, partial.Finalize(t.Context(), path))
			}
			err := orbax.Verify(t.Context(), path)
			for _, want := range []string{"leaf a: chunk", "leaf b: chunk"} {
				if !errors.Is(err, orbax.ErrCorrupt) || !strings.Contains(err.Error(), want) {
					t.Errorf("%s, before %t: %v", name, before, err)
				}
			}
			if _, err := orbax.Load(t.Context(), path); !errors.Is(err, orbax.ErrCorrupt) {
				t.Errorf("%s, before %t: Load: %v", name, before, err)
			}
			records, err := filepath.Glob(filepath.Join(path, "state", "go-orbax.places.*"))
			if must(t, err); len(records) != 2 {
				t.Errorf("%s: records %q", name, records)
			}
		}
	}
}

// A new index does not change the recorded places.
func TestRepairKeepsPlaces(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ck")
	must(t, partial.Save(t.Context(), path, map[string]any{"a": large(1)}))
	must(t, partial.Save(t.Context(), path, map[string]any{"b": large(2)}))
	must(t, partial.Finalize(t.Context(), path))
	must(t, os.Remove(filepath.Join(path, "state", "manifest.ocdbt")))
	report, err := orbax.Repair(t.Context(), path, orbax.WriteRepairs())
	if must(t, err); !report.Written {
		t.Fatal(report)
	}
	must(t, orbax.Verify(t.Context(), path))
	exchangeData(t, filepath.Join(path, "state", "ocdbt.process_0*", "d", "*"))
	err = orbax.Verify(t.Context(), path)
	for _, want := range []string{"leaf a: chunk", "leaf b: chunk"} {
		if !errors.Is(err, orbax.ErrCorrupt) || !strings.Contains(err.Error(), want) {
			t.Error(err)
		}
	}
}

// exchangeData exchanges the two files that match pattern and hold data.
func exchangeData(t *testing.T, pattern string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	must(t, err)
	var data [][]byte
	var of []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		must(t, err)
		if len(b) >= 4*len(large(0)) && !bytes.Contains(b, []byte("zarr_format")) { // otherwise it is the index
			data, of = append(data, b), append(of, file)
		}
	}
	if len(of) != 2 || len(data[0]) != len(data[1]) {
		t.Fatalf("%q match %s", of, pattern)
	}
	must(t, os.WriteFile(of[0], data[1], 0o666))
	must(t, os.WriteFile(of[1], data[0], 0o666))
}
