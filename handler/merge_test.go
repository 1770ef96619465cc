package handler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/tree"
)

// putDatabase writes a database of inline values, and of one that is elsewhere
// for each that begins with "@".
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
	dir := NewReadDir(storage.Local(), filepath.ToSlash(root), "item", nil, nil)
	if values, err := readDatabases(t.Context(), dir); err != nil || len(values) != 0 {
		t.Errorf("of no directory: %v, %v", values, err)
	}
	item := filepath.Join(root, "item")
	putDatabase(t, filepath.Join(item, "ocdbt.process_0"), map[string]string{"a/zarr.json": "doc", "a/c/0": "@12345", "same": "x"})
	putDatabase(t, filepath.Join(item, "ocdbt.process_1"), map[string]string{"a/c/1": "inline", "same": "x"})
	putDatabase(t, filepath.Join(item, "ocdbt.process_replica_0"), map[string]string{"a/c/2": "@123"})
	if err := os.MkdirAll(filepath.Join(item, "ocdbt.process_2"), 0o777); err != nil { // wrote nothing
		t.Fatal(err)
	}
	values, err := readDatabases(t.Context(), dir)
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
		_, err := readDatabases(t.Context(), dir)
		if !errors.Is(err, fault.ErrKeyCollision) || !strings.Contains(err.Error(), "process_3") || !strings.Contains(err.Error(), "same") {
			t.Errorf("with a value %q: %v", other, err)
		}
	}
	if err := os.WriteFile(filepath.Join(item, "ocdbt.process_3", ocdbt.ManifestName), []byte("damage"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := readDatabases(t.Context(), dir); !errors.Is(err, fault.ErrCorrupt) || !strings.Contains(err.Error(), "process_3") {
		t.Errorf("with a damaged database: %v", err)
	}
}

// pathOf makes a path of names; those that begin with a digit are of a sequence.
func pathOf(names ...string) tree.Path {
	var p tree.Path
	for _, name := range names {
		p = append(p, tree.Key{Name: name, Seq: name != "" && name[0] >= '0' && name[0] <= '9'})
	}
	return p
}

func TestKeySet(t *testing.T) {
	type leaf struct {
		path []string
		text bool
	}
	for _, c := range []struct {
		there, add leaf
		ok         bool
	}{
		{leaf{[]string{"a"}, false}, leaf{[]string{"b"}, false}, true},
		{leaf{[]string{"a", "b"}, false}, leaf{[]string{"a", "c"}, true}, true},
		{leaf{[]string{"a"}, false}, leaf{[]string{"a"}, true}, false},
		{leaf{[]string{"a"}, false}, leaf{[]string{"a", "b"}, false}, false},
		{leaf{[]string{"a", "b", "c"}, false}, leaf{[]string{"a"}, false}, false},
		{leaf{[]string{"a", "b"}, false}, leaf{[]string{"a.b"}, false}, false},
		{leaf{[]string{"a"}, false}, leaf{[]string{"a/"}, false}, false},
		{leaf{[]string{"a", "0"}, false}, leaf{[]string{"a", "1"}, false}, true},
		{leaf{[]string{"a", "0"}, false}, leaf{[]string{"a", "b"}, false}, false},
		{leaf{[]string{"a/b"}, true}, leaf{[]string{"a"}, true}, false},
		{leaf{[]string{"a"}, true}, leaf{[]string{"a/b"}, true}, false},
		{leaf{[]string{"a"}, true}, leaf{[]string{"a/b"}, false}, true},
		{leaf{nil, false}, leaf{[]string{"a"}, false}, false},
		{leaf{[]string{"a"}, false}, leaf{nil, false}, false},
		{leaf{[]string{""}, true}, leaf{[]string{"/a"}, true}, false},
		{leaf{[]string{"1:a2", "b"}, false}, leaf{[]string{"1:a", "2b"}, false}, true},
	} {
		var s KeySet
		if err := s.Add(pathOf(c.there.path...), c.there.text); err != nil {
			t.Fatal(err)
		}
		err := s.Add(pathOf(c.add.path...), c.add.text)
		var leaf *fault.Leaf
		if (err == nil) != c.ok || err != nil && (!errors.Is(err, fault.ErrKeyCollision) || !errors.As(err, &leaf)) {
			t.Errorf("%q beside %q: %v", c.add.path, c.there.path, err)
		}
	}
}

// A leaf is refused exactly if it is equal to, above or below another, whatever
// the order in which they come.
func TestKeySetOfAnyPaths(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"a", "b", "ab", "1:a"})
		paths := rapid.SliceOfN(rapid.SliceOfN(name, 0, 4), 1, 8).Draw(t, "paths")
		var s KeySet
		var there [][]string
		for _, names := range paths {
			var p tree.Path
			for _, n := range names {
				p = append(p, tree.Key{Name: n})
			}
			clash := slices.ContainsFunc(there, func(other []string) bool {
				n := min(len(names), len(other))
				return slices.Equal(names[:n], other[:n])
			})
			if err := s.Add(p, false); (err != nil) != clash {
				t.Fatalf("%q beside %q: %v", names, there, err)
			}
			if !clash {
				there = append(there, names)
			}
		}
	})
}

// What a deep path takes grows with its length and no faster.
func TestKeySetOfDeepPaths(t *testing.T) {
	var s KeySet
	deep := make(tree.Path, 200_000)
	for i := range deep {
		deep[i] = tree.Key{Name: "k"}
	}
	if err := s.Add(deep, true); err != nil {
		t.Fatal(err)
	}
	for _, p := range []tree.Path{deep, deep[:1000], append(slices.Clone(deep), deep...)} {
		if err := s.Add(p, false); !errors.Is(err, fault.ErrKeyCollision) {
			t.Errorf("%d keys: %v", len(p), errors.Is(err, fault.ErrKeyCollision))
		}
	}
}

// saveUnmerged saves a tree with its database apart, in the directory called name.
func saveUnmerged(t *testing.T, v any, o StorageOptions) *ReadDir {
	t.Helper()
	write, err := PyTreeHandler{}.Save(t.Context(), v, SaveOptions{Storage: o})
	if err != nil {
		t.Fatal(err)
	}
	dir, _ := written(t, func(ctx context.Context, d *WriteDir) error {
		d.Unmerged()
		return write(ctx, d)
	})
	return dir
}

func TestUnion(t *testing.T) {
	a := saveUnmerged(t, map[string]any{"a": []float32{1, 2}, "s": "one"}, StorageOptions{})
	b := saveUnmerged(t, map[string]any{"b": []int32{3}, "t": "two"}, StorageOptions{PlainFiles: true})
	u, err := OpenUnion(t.Context(), UnionPart{a, "a"}, UnionPart{b, "b"})
	if err != nil {
		t.Fatal(err)
	}
	if len(u.leaves) != 4 || len(u.databases) != 1 || u.databases[0].as != "ocdbt.process_0a" || u.Keys() != 4 || len(u.Strays()) > 0 {
		t.Errorf("leaves %v, databases %v, %d keys, strays %q", u.leaves, u.databases, u.Keys(), u.Strays())
	}
	dir, _ := written(t, u.Write)
	got, err := PyTreeHandler{}.Load(t.Context(), dir, nil, LoadOptions{})
	if err != nil || len(got.(map[string]any)) != 4 {
		t.Errorf("loaded %v, %v", got, err)
	}
	if errs := VerifyTree(t.Context(), dir, OpenOptions{}); len(errs) > 0 {
		t.Error(errs)
	}

	same := saveUnmerged(t, map[string]any{"a": []float32{1, 2}}, StorageOptions{})
	if _, err := OpenUnion(t.Context(), UnionPart{a, "a"}, UnionPart{same, "b"}); err != nil {
		t.Errorf("an equal leaf, as a merge that was interrupted leaves: %v", err)
	}
	other := saveUnmerged(t, map[string]any{"a": []float32{1, 3}}, StorageOptions{})
	file := saveUnmerged(t, map[string]any{"a": []float32{1, 3}}, StorageOptions{PlainFiles: true})
	two := saveUnmerged(t, map[string]any{"z": 1}, StorageOptions{Zarr2: true})
	for name, c := range map[string]struct {
		parts []UnionPart
		want  error
	}{
		"other values": {[]UnionPart{{a, "a"}, {other, "b"}}, fault.ErrKeyCollision},
		"in a file":    {[]UnionPart{{a, "a"}, {file, "b"}}, fault.ErrKeyCollision},
		"in two files": {[]UnionPart{{file, "a"}, {file, "b"}}, fault.ErrKeyCollision},
		"one suffix":   {[]UnionPart{{a, ""}, {two, ""}}, fault.ErrKeyCollision},
		"two formats":  {[]UnionPart{{a, "a"}, {two, "b"}}, fault.ErrUnsupported},
		"no parts":     {nil, fault.ErrCorrupt},
	} {
		if _, err := OpenUnion(t.Context(), c.parts...); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	short := saveUnmerged(t, map[string]any{"w": make([]float32, 5000)}, StorageOptions{})
	data, err := filepath.Glob(filepath.Join(short.path(), "ocdbt.process_0", "d", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range data {
		if err := os.Truncate(file, 10000); err != nil { // the nodes' is shorter
			t.Fatal(err)
		}
	}
	if _, err := OpenUnion(t.Context(), UnionPart{short, ""}); !errors.Is(err, fault.ErrCorrupt) || !strings.Contains(err.Error(), "10000 bytes") {
		t.Errorf("with a truncated data file: %v", err)
	}
	// What documents are lost is noticed.
	for _, lost := range []string{"_METADATA", "_strings.json", "ocdbt.process_0/d", "ocdbt.process_0/manifest.ocdbt"} {
		part := saveUnmerged(t, map[string]any{"w": make([]float32, 5000), "s": "one"}, StorageOptions{})
		part = NewReadDir(storage.Local(), part.root, part.name, nil, nil)
		if err := os.RemoveAll(filepath.Join(part.path(), lost)); err != nil {
			t.Fatal(err)
		}
		u, err := OpenUnion(t.Context(), UnionPart{b, "b"}, UnionPart{part, "p"})
		if lost == "_METADATA" {
			if err != nil || !slices.Equal(u.Strays(), []string{"s", "w"}) {
				t.Errorf("without %s: %v", lost, err)
			}
		} else if !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("without %s: %v", lost, err)
		}
	}
}
