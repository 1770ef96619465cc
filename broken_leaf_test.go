package orbax_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/transform"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// filesOf saves state in plain files and removes the digests, which Orbax does not
// write.
func filesOf(t *testing.T, state any, zarr2 bool) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ckpt")
	must(t, orbax.Save(t.Context(), path, state, orbax.Storage(handler.StorageOptions{PlainFiles: true, Zarr2: zarr2})))
	must(t, os.Remove(filepath.Join(path, "digests.sha256")))
	must(t, os.Remove(filepath.Join(path, "state", "go-orbax.places")))
	return path
}

// brokenNames returns the names of the leaves that err says are broken.
func brokenNames(t *testing.T, err error) (names []string) {
	t.Helper()
	var e *orbax.Error
	if err == nil {
		return nil
	}
	if !errors.As(err, &e) || len(e.Leaves()) == 0 {
		t.Fatalf("not an error of leaves: %v", err)
	}
	for _, l := range e.Leaves() {
		names = append(names, l.Path)
	}
	slices.Sort(names)
	return names
}

// What is broken belongs to its leaf: who asks for others gets them, and who asks for
// it is told, of all leaves at once.
func TestBrokenLeafIsAlone(t *testing.T) {
	const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 8\n"
	remove := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, name))) }
	}
	write := func(name, text string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, name), text) }
	}
	both := func(a, b func(t *testing.T, dir string)) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) { a(t, dir); b(t, dir) }
	}
	edit := func(name, old, new string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			doc, err := os.ReadFile(filepath.Join(dir, name))
			must(t, err)
			if !strings.Contains(string(doc), old) {
				t.Fatalf("no %s in %s", old, doc)
			}
			writeFile(t, filepath.Join(dir, name), strings.ReplaceAll(string(doc), old, new))
		}
	}
	for name, c := range map[string]struct {
		zarr2  bool
		damage func(t *testing.T, dir string)
		broken []string
		want   error
		shape  bool // is known all the same
	}{
		"chunk missing":        {damage: remove("w/c/0"), broken: []string{"w"}, want: orbax.ErrCorrupt, shape: true},
		"chunk empty":          {damage: write("w/c/0", ""), broken: []string{"w"}, want: orbax.ErrCorrupt, shape: true},
		"chunk not fetched":    {damage: write("w/c/0", pointer), broken: []string{"w"}, want: orbax.ErrIncomplete, shape: true},
		"document missing":     {damage: remove("w/zarr.json"), broken: []string{"w"}, want: orbax.ErrCorrupt},
		"document cut off":     {damage: write("w/zarr.json", `{"shape":[3`), broken: []string{"w"}, want: orbax.ErrCorrupt},
		"document not fetched": {damage: write("w/zarr.json", pointer), broken: []string{"w"}, want: orbax.ErrIncomplete},
		"directory missing":    {damage: both(remove("w/zarr.json"), both(remove("w/c/0"), both(remove("w/c"), remove("w")))), broken: []string{"w"}, want: orbax.ErrCorrupt},
		"codec unknown":        {damage: edit("w/zarr.json", `"crc32c"`, `"packbits"`), broken: []string{"w"}, want: orbax.ErrUnsupported},
		"dtype unknown":        {damage: edit("w/zarr.json", `"float32"`, `"float9"`), broken: []string{"w"}, want: orbax.ErrUnsupported},
		"two leaves":           {damage: both(remove("w/c/0"), remove("n/zarr.json")), broken: []string{"n", "w"}, want: orbax.ErrCorrupt, shape: true},
		"strings cut off":      {damage: write("_strings.json", "{"), broken: []string{"s"}, want: orbax.ErrCorrupt},
		"strings missing":      {damage: remove("_strings.json"), broken: []string{"s"}, want: orbax.ErrCorrupt},
		"one string missing":   {damage: write("_strings.json", "{}"), broken: []string{"s"}, want: orbax.ErrCorrupt},
		"zarr2 chunk missing":  {zarr2: true, damage: remove("w/0"), broken: []string{"w"}, want: orbax.ErrCorrupt, shape: true},
		"zarr2 codec unknown":  {zarr2: true, damage: edit("w/.zarray", `"zstd"`, `"lzma"`), broken: []string{"w"}, want: orbax.ErrUnsupported},
		"zarr2 document lost":  {zarr2: true, damage: remove("w/.zarray"), broken: []string{"w"}, want: orbax.ErrCorrupt},
		"one name":             {damage: edit("_METADATA", `"('m', 'x')": {"key_metadata": [{"key": "m", "key_type": 2}, {"key": "x", "key_type": 2}]`, `"('m.y',)": {"key_metadata": [{"key": "m.y", "key_type": 2}]`), broken: []string{"m.y", "m.y"}, want: orbax.ErrKeyCollision, shape: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state := map[string]any{
				"w": array.Of([]float32{1, 2, 3}), "b": array.Of([]float32{4, 5}),
				"m": map[string]any{"x": array.Of([]int8{6}), "y": array.Of([]int8{7})}, "n": 8, "s": "text", "e": nil,
			}
			path := filesOf(t, state, c.zarr2)
			c.damage(t, filepath.Join(path, "state"))
			checkBroken(t, path, c.broken, c.want, c.shape)
		})
	}
}

// TestBrokenStrings damages the document that has only the strings of a checkpoint of this
// package, which its digests cover.
func TestBrokenStrings(t *testing.T) {
	state := map[string]any{
		"w": array.Of([]float32{1, 2, 3}), "b": array.Of([]float32{4, 5}),
		"m": map[string]any{"y": array.Of([]int8{7})}, "n": 8, "s": "text", "e": nil,
	}
	for name, damage := range map[string]func(doc string) (string, bool){
		"another text": func(doc string) (string, bool) { return strings.Replace(doc, "text", "test", 1), true },
		"cut off":      func(doc string) (string, bool) { return doc[:len(doc)/2], true },
		"missing":      func(string) (string, bool) { return "", false },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ckpt")
			must(t, orbax.Save(t.Context(), path, state))
			file := filepath.Join(path, "state", "_strings.json")
			doc, err := os.ReadFile(file)
			must(t, err)
			if damaged, stays := damage(string(doc)); stays {
				writeFile(t, file, damaged)
			} else {
				must(t, os.Remove(file))
			}
			checkBroken(t, path, []string{"s"}, orbax.ErrCorrupt, false)
		})
	}
}

// checkBroken checks that the leaves called broken, one of which is w, n, s or m.y, and
// no others, cannot be read.
func checkBroken(t *testing.T, path string, broken []string, want error, shape bool) {
	ctx := t.Context()
	m, err := orbax.Metadata(ctx, path)
	must(t, err)
	for _, l := range m.Tree.Leaves {
		name := l.Path.String()
		if is := l.Err != nil; is != slices.Contains(broken, name) {
			t.Errorf("metadata of %s: %v", name, l.Err)
		}
		if shape && slices.Contains(broken, name) && name != "n" && (l.DType == array.Invalid || len(l.Shape) == 0) {
			t.Errorf("shape of %s: %v%v", name, l.DType, l.Shape)
		}
	}
	others := orbax.SelectFunc(func(m *view.LeafMetadata) bool { return !slices.Contains(broken, m.Path.String()) })
	all := map[string]any{"w": (*array.Array)(nil), "b": (*array.Array)(nil), "m": map[string]any{"y": nil}, "n": 0, "s": "", "e": nil}
	for what, err := range map[string]error{
		"Metadata": m.Err(),
		"Load":     second(orbax.Load(ctx, path)),
		"LoadInto": orbax.LoadInto(ctx, path, new(any)),
		"Partial":  orbax.LoadInto(ctx, path, &all, orbax.Partial()),
		"Metadata as a target": func() error {
			_, err := orbax.LoadAbstract(ctx, path, m)
			return err
		}(),
		"Checkpointables": second(orbax.LoadCheckpointables(ctx, path, nil)),
		"Verify":          orbax.Verify(ctx, path),
		"Hash":            second(orbax.Hash(ctx, path)),
		"Diff":            second(orbax.Diff(ctx, path, path, view.DiffOptions{})),
		"Transform":       second(orbax.Load(ctx, path, orbax.Transform(transform.Rename(map[string]string{"e": "none"})))),
		"cast":            second(orbax.Load(ctx, path, orbax.Select("w", "b", "m.y", "n", "s"), orbax.Transform(transform.Each("b", func(x transform.Expr) transform.Expr { return x.Cast(array.Float64) })))),
	} {
		names := brokenNames(t, err)
		if (what == "Partial" || what == "Transform") && slices.Contains(broken, "m.y") {
			continue // m is no dict any more, and rules want names that differ
		}
		if (what == "Diff" || what == "cast" || what == "Metadata as a target") && len(names) > 0 {
			names = slices.Compact(names)
			broken := slices.Compact(slices.Clone(broken))
			if !slices.Equal(names, broken) || !errors.Is(err, want) {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		if !slices.Equal(names, broken) || !errors.Is(err, want) {
			t.Errorf("%s: %v, want an error of %q", what, err, broken)
		}
	}
	v, err := orbax.Load(ctx, path, others)
	must(t, err)
	loaded := v.(map[string]any)
	if !slices.Contains(broken, "b") && !loaded["b"].(*array.Array).Equal(array.Of([]float32{4, 5})) {
		t.Errorf("others: %v", v)
	}
	if _, err := orbax.Hash(ctx, path, others); err != nil {
		t.Errorf("hash of others: %v", err)
	}
	only := view.DiffOptions{Only: func(m *view.LeafMetadata) bool { return m.Path[0].Name == "b" }}
	if d, err := orbax.Diff(ctx, path, path, only); err != nil || !d.Equal() || d.Leaves != 1 {
		t.Errorf("diff of others: %v, %v", d, err)
	}
	target := map[string]*array.Array{"b": nil}
	if err := orbax.LoadInto(ctx, path, &target, orbax.Partial()); err != nil || target["b"] == nil {
		t.Errorf("Partial of others: %v, %v", target, err)
	}
	if slices.Contains(broken, "w") {
		rest := map[string]any{"w": tree.Placeholder, "b": nil, "m": nil, "n": tree.Placeholder, "s": nil, "e": nil}
		if err := orbax.LoadInto(ctx, path, &rest); err != nil || rest["w"] != tree.Placeholder {
			t.Errorf("Placeholder: %v, %v", rest, err)
		}
		if _, err := orbax.Load(ctx, path, orbax.Transform(transform.Drop("w"), transform.Drop("n"))); err != nil {
			t.Errorf("Drop: %v", err)
		}
		_, err := orbax.Load(ctx, path, orbax.Transform(transform.Set("twice", transform.Concat(0, transform.Leaf("b"), transform.Leaf("w"))), transform.Drop("n"), transform.Drop("w")))
		if !errors.Is(err, want) || !strings.Contains(fmt.Sprint(err), "leaf w: ") {
			t.Errorf("made of a broken leaf: %v", err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// A document of shardings that a lost page cache has left empty keeps no data from
// being loaded, where nothing says that it was ever more: what was lost is reported.
func TestShardingsLost(t *testing.T) {
	ctx := t.Context()
	for name, text := range map[string]string{"empty": "", "zeros": strings.Repeat("\x00", 90), "cut off": `{"dw==":"{`} {
		state := map[string]any{"w": array.Of([]float32{1, 2}).WithSharding(sharding.SingleDevice("cpu:0")), "n": 3}
		path := filesOf(t, state, false)
		writeFile(t, filepath.Join(path, "state", "_sharding"), text)
		v, err := orbax.Load(ctx, path)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		w := v.(map[string]any)["w"].(*array.Array)
		if !w.Equal(array.Of([]float32{1, 2})) {
			t.Errorf("%s: %v", name, w)
		}
		m, err := orbax.Metadata(ctx, path, orbax.Select("w"))
		if err != nil || m.Err() != nil || !errors.Is(m.Tree.ShardingErr, orbax.ErrCorrupt) || m.Tree.Leaves[0].Sharding != nil {
			t.Errorf("%s: got %v, %v, sharding %v, %v; want only ErrCorrupt about the sharding", name, err, m.Err(), m.Tree.Leaves[0].Sharding, m.Tree.ShardingErr)
		}
		if err := orbax.Verify(ctx, path); !errors.Is(err, orbax.ErrCorrupt) || !strings.Contains(fmt.Sprint(err), "_sharding") {
			t.Errorf("%s: verify: %v", name, err)
		}
	}
	// With digests it is known that it was more.
	path := filepath.Join(t.TempDir(), "ckpt")
	must(t, orbax.Save(ctx, path, map[string]any{"w": array.Of([]float32{1, 2}).WithSharding(sharding.SingleDevice("cpu:0"))}))
	writeFile(t, filepath.Join(path, "state", "_sharding"), "")
	if _, err := orbax.Load(ctx, path); !errors.Is(err, orbax.ErrCorrupt) {
		t.Errorf("with digests: %v", err)
	}
}

// Where it is not known which arrays are PRNG keys, those that can be are not loaded
// as numbers.
func TestArrayMetadatasLost(t *testing.T) {
	ctx := t.Context()
	key, err := array.PRNGKey("threefry2x32", array.Of([]uint32{1, 2}))
	must(t, err)
	path := filesOf(t, map[string]any{"w": array.Of([]float32{1, 2}).WithSharding(sharding.SingleDevice("cpu:0")), "key": key}, false)
	writeFile(t, filepath.Join(path, "state", "array_metadatas", "process_0"), "")
	_, err = orbax.Load(ctx, path)
	if names := brokenNames(t, err); !reflect.DeepEqual(names, []string{"key"}) || !errors.Is(err, orbax.ErrCorrupt) {
		t.Errorf("Load: %v", err)
	}
	if v, err := orbax.Load(ctx, path, orbax.Select("w")); err != nil {
		t.Errorf("w: %v, %v", v, err)
	}
	if err := orbax.Verify(ctx, path); !errors.Is(err, orbax.ErrCorrupt) {
		t.Errorf("Verify: %v", err)
	}
}

// The end of a context is no damage.
func TestBrokenLeafAndCancelledContext(t *testing.T) {
	path := filesOf(t, map[string]any{"w": array.Of([]float32{1, 2}), "b": array.Of([]float32{1, 2})}, false)
	ck, err := orbax.Open(t.Context(), path)
	must(t, err)
	defer ck.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if m, err := ck.Metadata(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, orbax.ErrCorrupt) {
		t.Errorf("%v, %v", m, err)
	}
}

// What a notebook server leaves is no part of a checkpoint and no array of a store.
func TestNotebookDirectory(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ckpt")
	must(t, orbax.Save(ctx, path, map[string]any{"w": array.Of([]float32{1, 2})}))
	store := t.TempDir()
	bareArray(t, filepath.Join(store, "a"))
	writeFile(t, filepath.Join(store, ".zgroup"), `{"zarr_format":2}`)
	for _, dir := range []string{path, filepath.Join(path, "state"), store, filepath.Join(store, "a")} {
		copies := filepath.Join(dir, ".ipynb_checkpoints")
		must(t, os.Mkdir(copies, 0o777))
		writeFile(t, filepath.Join(copies, ".zarray"), "{")
	}
	if v, err := orbax.LoadCheckpointables(ctx, path, nil); err != nil || len(v) != 1 {
		t.Errorf("checkpoint: %v, %v", v, err)
	}
	for _, path := range []string{path, store} {
		if err := orbax.Verify(ctx, path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if m, err := orbax.Metadata(ctx, path); err != nil || m.Err() != nil || len(m.Tree.Leaves) != 1 {
			t.Errorf("%s: %+v, %v", path, m, err)
		}
	}
}
