package union

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/pytree"
	"github.com/go-orbax/orbax/internal/treesave"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/tree"
)

// pathOf makes a path of names. A name that begins with a digit is the key of a sequence.
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

// A leaf is refused exactly if it is equal to another leaf, or above or below it, in
// whatever order they come.
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

// The memory for a deep path grows with its length and no faster.
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

func TestUnion(t *testing.T) {
	a := saveUnmerged(t, map[string]any{"a": []float32{1, 2}, "s": "one"}, treesave.Storage{})
	b := saveUnmerged(t, map[string]any{"b": []int32{3}, "t": "two"}, treesave.Storage{PlainFiles: true})
	u, err := Open(t.Context(), Input{a, "a"}, Input{b, "b"})
	if err != nil {
		t.Fatal(err)
	}
	if len(u.leaves) != 4 || len(u.databases) != 1 || u.databases[0].as != "ocdbt.process_0a" || u.Keys() != 4 || len(u.Strays()) > 0 {
		t.Errorf("leaves %v, databases %v, %d keys, strays %q; want 4 leaves, the database ocdbt.process_0a, 4 keys and no strays", u.leaves, u.databases, u.Keys(), u.Strays())
	}
	dir, _ := writtenItem(t, u.Write)
	opened, err := pytree.Open(t.Context(), dir, pytree.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := opened.Load(t.Context())
	if err != nil || len(got.(map[string]any)) != 4 {
		t.Errorf("loaded %v, %v", got, err)
	}
	if errs := pytree.Verify(t.Context(), dir, pytree.Options{}); len(errs) > 0 {
		t.Error(errs)
	}

	same := saveUnmerged(t, map[string]any{"a": []float32{1, 2}}, treesave.Storage{})
	if _, err := Open(t.Context(), Input{a, "a"}, Input{same, "b"}); err != nil {
		t.Errorf("an equal leaf, as a merge that was interrupted leaves: %v", err)
	}
	other := saveUnmerged(t, map[string]any{"a": []float32{1, 3}}, treesave.Storage{})
	file := saveUnmerged(t, map[string]any{"a": []float32{1, 3}}, treesave.Storage{PlainFiles: true})
	two := saveUnmerged(t, map[string]any{"z": 1}, treesave.Storage{Zarr2: true})
	for name, c := range map[string]struct {
		inputs []Input
		want   error
	}{
		"other values": {[]Input{{a, "a"}, {other, "b"}}, fault.ErrKeyCollision},
		"in a file":    {[]Input{{a, "a"}, {file, "b"}}, fault.ErrKeyCollision},
		"in two files": {[]Input{{file, "a"}, {file, "b"}}, fault.ErrKeyCollision},
		"one suffix":   {[]Input{{a, ""}, {two, ""}}, fault.ErrKeyCollision},
		"two formats":  {[]Input{{a, "a"}, {two, "b"}}, fault.ErrUnsupported},
		"no parts":     {nil, fault.ErrCorrupt},
	} {
		if _, err := Open(t.Context(), c.inputs...); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	short := saveUnmerged(t, map[string]any{"w": make([]float32, 5000)}, treesave.Storage{})
	data, err := filepath.Glob(filepath.Join(short.At().Name, "ocdbt.process_0", "d", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range data {
		if err := os.Truncate(file, 10000); err != nil { // the file of the nodes is shorter
			t.Fatal(err)
		}
	}
	if _, err := Open(t.Context(), Input{short, ""}); !errors.Is(err, fault.ErrCorrupt) || !strings.Contains(err.Error(), "10000 bytes") {
		t.Errorf("with a truncated data file: %v", err)
	}
	// Lost documents are noticed.
	for _, lost := range []string{"_METADATA", "_strings.json", "ocdbt.process_0/d", "ocdbt.process_0/manifest.ocdbt"} {
		input := saveUnmerged(t, map[string]any{"w": make([]float32, 5000), "s": "one"}, treesave.Storage{})
		input = readDir(storage.Local(), filepath.ToSlash(filepath.Dir(input.At().Name)), nil)
		if err := os.RemoveAll(filepath.Join(input.At().Name, lost)); err != nil {
			t.Fatal(err)
		}
		u, err := Open(t.Context(), Input{b, "b"}, Input{input, "p"})
		if lost == "_METADATA" {
			if err != nil || !slices.Equal(u.Strays(), []string{"s", "w"}) {
				t.Errorf("without %s: %v", lost, err)
			}
		} else if !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("without %s: %v", lost, err)
		}
	}
}
