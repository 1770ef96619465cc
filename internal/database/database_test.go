package database

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/storage"
)

// putDatabase writes a database of inline values. A value that begins with "@" is stored
// elsewhere.
func putDatabase(t *testing.T, dir string, values map[string]string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "d"), 0o777); err != nil {
		t.Fatal(err)
	}
	var entries []ocdbt.Entry
	for _, key := range slices.Sorted(maps.Keys(values)) {
		e := ocdbt.Entry{Key: key, Value: ocdbt.Value{Inline: []byte(values[key])}}
		if text, ok := strings.CutPrefix(values[key], "@"); ok {
			e.Value = ocdbt.Value{Ref: ocdbt.Ref{File: "d/values", Length: int64(len(text))}}
		}
		entries = append(entries, e)
	}
	var nodes []byte
	root, err := ocdbt.WriteTree(slices.Values(entries), 0, func(node []byte) (ocdbt.Ref, error) {
		ref := ocdbt.Ref{File: "d/nodes", Offset: int64(len(nodes)), Length: int64(len(node))}
		nodes = append(nodes, node...)
		return ref, nil
	})
	err = cmp.Or(err, os.WriteFile(filepath.Join(dir, "d", "nodes"), nodes, 0o666))
	err = cmp.Or(err, os.WriteFile(filepath.Join(dir, ocdbt.ManifestName), ocdbt.Manifest(root, randomID(), time.Now()), 0o666))
	if err != nil {
		t.Fatal(err)
	}
}

func TestReadDatabases(t *testing.T) {
	root := t.TempDir()
	dir := ckdir.NewReadDir(ckdir.Place{Root: storage.At(storage.Local(), filepath.ToSlash(root)), Name: "item"})
	if values, err := ReadAll(t.Context(), dir); err != nil || len(values) != 0 {
		t.Errorf("of no directory: %v, %v", values, err)
	}
	item := filepath.Join(root, "item")
	putDatabase(t, filepath.Join(item, "ocdbt.process_0"), map[string]string{"a/zarr.json": "doc", "a/c/0": "@12345", "same": "x"})
	putDatabase(t, filepath.Join(item, "ocdbt.process_1"), map[string]string{"a/c/1": "inline", "same": "x"})
	putDatabase(t, filepath.Join(item, "ocdbt.process_replica_0"), map[string]string{"a/c/2": "@123"})
	if err := os.MkdirAll(filepath.Join(item, "ocdbt.process_2"), 0o777); err != nil { // this process wrote nothing
		t.Fatal(err)
	}
	values, err := ReadAll(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range values {
		got[e.Key] = string(e.Value.Inline)
		if !e.Value.IsInline() {
			got[e.Key] = fmt.Sprint(e.Value.Ref)
		}
	}
	want := map[string]string{
		"a/zarr.json": "doc", "same": "x", "a/c/1": "inline",
		"a/c/0": "{ocdbt.process_0/d/values 0 5}", "a/c/2": "{ocdbt.process_replica_0/d/values 0 3}",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	for _, other := range []string{"y", "@x"} {
		putDatabase(t, filepath.Join(item, "ocdbt.process_3"), map[string]string{"same": other})
		_, err := ReadAll(t.Context(), dir)
		if !errors.Is(err, fault.ErrKeyCollision) || !strings.Contains(err.Error(), "process_3") || !strings.Contains(err.Error(), "same") {
			t.Errorf("with a value %q: %v", other, err)
		}
	}
	if err := os.WriteFile(filepath.Join(item, "ocdbt.process_3", ocdbt.ManifestName), []byte("damage"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadAll(t.Context(), dir); !errors.Is(err, fault.ErrCorrupt) || !strings.Contains(err.Error(), "process_3") {
		t.Errorf("with a damaged database: %v", err)
	}
}
