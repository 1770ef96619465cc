package interop

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
)

// exchange exchanges the first and the last file of those that match, which have one
// size.
func exchange(t *testing.T, pattern string) {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) < 2 {
		t.Fatalf("%q match %s, %v", names, pattern, err)
	}
	a, aerr := os.ReadFile(names[0])
	b, berr := os.ReadFile(names[len(names)-1])
	if err := errors.Join(aerr, berr); err != nil || len(a) != len(b) {
		t.Fatalf("%d and %d bytes, %v", len(a), len(b), err)
	}
	if err := errors.Join(os.WriteFile(names[0], b, 0o666), os.WriteFile(names[len(names)-1], a, 0o666)); err != nil {
		t.Fatal(err)
	}
}

// What Orbax does with a checkpoint whose chunks are held in their places by a record of
// ours is no damage: it loads it, deletes a checkpointable from it, and replaces it. After
// the deletion what is in the wrong place is still found.
func TestPlacesAfterOrbax(t *testing.T) {
	needPython(t)
	numbers := func(from float32) *array.Array {
		data := make([]float32, 3000)
		for i := range data {
			data[i] = from + float32(i)
		}
		return array.Of(data)
	}
	items := map[string]any{
		"state": map[string]any{"a": numbers(1), "b": numbers(5000)},
		"opt":   map[string]any{"a": numbers(1), "b": numbers(7000)},
	}
	for _, s := range []handler.StorageOptions{
		{}, {PlainFiles: true}, {PlainFiles: true, Zarr2: true},
		{ArrayOptions: handler.ArrayOptions{ChunkByteSize: 4096}}, {PlainFiles: true, ArrayOptions: handler.ArrayOptions{ChunkByteSize: 4096}},
	} {
		t.Run(storageName(s), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ck")
			if err := orbax.SaveCheckpointables(t.Context(), path, items, orbax.Storage(s)); err != nil {
				t.Fatal(err)
			}
			verify := func(what string) {
				t.Helper()
				if err := orbax.Verify(t.Context(), path); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
			loaded := pyLoad(t, path, nil)
			verify("loaded")
			mustCall(t, "delete", request{"path": path, "name": "opt"}, nil)
			verify("deleted from")
			if again := pyLoad(t, path, nil); again.String() != loaded.String() {
				t.Errorf("Python loads %v, not %v", again, loaded)
			}
			if s.PlainFiles {
				chunk := "c/0"
				if s.Zarr2 {
					chunk = "0"
				}
				files := filepath.Join(path, "state", "?", filepath.FromSlash(chunk))
				exchange(t, files)
				if err := orbax.Verify(t.Context(), path); !errors.Is(err, orbax.ErrCorrupt) || !strings.Contains(err.Error(), "leaf a: chunk") {
					t.Errorf("exchanged: %v", err)
				}
				exchange(t, files)
			}
			mustCall(t, "save", request{"path": path, "tree": loaded, "overwrite": true}, nil)
			verify("overwritten")
			if _, err := os.Stat(filepath.Join(path, "state", "go-orbax.places")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a record of what was overwritten: %v", err)
			}
		})
	}
}

// Of a session of parts of both, those of ours keep their places if it is finalized
// here. What Orbax has finalized has the records too, and no digests that cover them, so
// that they do not count.
func TestPlacesOfParts(t *testing.T) {
	needPython(t)
	floats := func(from int) *node {
		data := make([]float32, 3000)
		for i := range data {
			data[i] = float32(from + i)
		}
		n, err := fromGo(array.Of(data))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, last := range []string{"go", "py"} {
		path := filepath.Join(t.TempDir(), "ck")
		savePart(t, "go", path, dict("a", floats(1)), nil)
		savePart(t, "py", path, dict("b", floats(2)), nil)
		savePart(t, "go", path, dict("c", floats(3)), nil)
		finalize(t, last, path)
		if err := orbax.Verify(t.Context(), path); err != nil {
			t.Errorf("finalized by %s: %v", last, err)
		}
		records, err := filepath.Glob(filepath.Join(path, "state", "go-orbax.places.*"))
		if err != nil || len(records) != 2 {
			t.Errorf("finalized by %s: records %q, %v", last, records, err)
		}
		ck, err := orbax.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = ck.Load(t.Context())
		if err := errors.Join(err, ck.Close()); err != nil {
			t.Errorf("finalized by %s: %v", last, err)
		}
		pyLoad(t, path, nil)
	}
}
