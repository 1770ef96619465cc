package view_test

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/mmap"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/transform"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
	"github.com/go-orbax/orbax/zarr"
)

func open(t testing.TB, path string) *orbax.Checkpoint {
	t.Helper()
	ck, err := orbax.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ck.Close() })
	return ck
}

// differ compares all there is of two trees.
func differ(t testing.TB, got, want any) error {
	g, w := mustOf(t, got), mustOf(t, want)
	if !reflect.DeepEqual(g.Metadata(), w.Metadata()) {
		return fmt.Errorf("got %+v, want %+v", g.Metadata(), w.Metadata())
	}
	if mustHash(t, g) != mustHash(t, w) {
		return fmt.Errorf("the elements differ: got %v, want %v", got, want)
	}
	return nil
}

// Every layout that Orbax and others write is loaded mapped as it is read.
func TestMappedLayouts(t *testing.T) {
	view.MapAll(t)
	zips, err := filepath.Glob(filepath.Join("..", "interop", "testdata", "layouts", "*.zip"))
	if err != nil || len(zips) == 0 {
		t.Fatal(zips, err)
	}
	loaded, mapped := 0, 0
	for _, name := range zips {
		r, err := zip.OpenReader(name)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		err = os.CopyFS(dir, r)
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			ck, err := orbax.Open(t.Context(), filepath.Join(dir, e.Name()))
			if err != nil {
				continue
			}
			what := filepath.Base(name) + "/" + e.Name()
			want, werr := ck.Load(t.Context())
			for _, o := range []orbax.LoadOption{orbax.Mapped(), orbax.MappedUnverified()} {
				var s orbax.Stats
				got, err := ck.Load(t.Context(), o, orbax.Report(&s))
				if (err == nil) != (werr == nil) || err != nil && err.Error() != werr.Error() {
					t.Fatalf("%s: %v; read: %v", what, err, werr)
				}
				if err != nil {
					continue
				}
				if err := differ(t, got, want); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				if err := ck.VerifyMapped(t.Context()); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				loaded++
				if s.Mapped > 0 {
					mapped++
				}
			}
			if err := ck.Close(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	t.Logf("%d of %d loads mapped something", mapped, loaded)
	if loaded < 100 {
		t.Errorf("only %d loads", loaded)
	}
}

// drawMapped returns a tree whose arrays are stored in one chunk or in several, of
// pages or not.
func drawMapped(rt *rapid.T) map[string]any {
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
	state := map[string]any{}
	for i := range rapid.IntRange(1, 6).Draw(rt, "leaves") {
		d := rapid.SampledFrom([]array.DType{
			array.Bool, array.Int2, array.Int4, array.Float4E2M1FN, array.Uint8, array.BFloat16, array.Float32, array.Int64, array.Complex128,
		}).Draw(rt, "dtype")
		shape := rapid.SampledFrom([][]int{{}, {0}, {7}, {33, 5}, {1 << 10, 4}, {4, 1 << 10}, {5, 1 << 12}}).Draw(rt, "shape")
		n, _ := array.NumElements(shape)
		b := make([]byte, n*d.Size())
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		array.Canonicalize(d, b)
		a, err := array.New(d, shape, b)
		if err != nil {
			rt.Fatal(err)
		}
		if rapid.Bool().Draw(rt, "sharded") {
			a = a.WithSharding(sharding.SingleDevice("cpu:0"))
		}
		state["a"+strconv.Itoa(i)] = a
	}
	state["bytes"] = make([]byte, rapid.SampledFrom([]int{0, 1, 5000}).Draw(rt, "bytes"))
	key, err := array.PRNGKey("threefry2x32", array.Of([]uint32{1, 2, 3, 4}, 2, 2))
	if err != nil {
		rt.Fatal(err)
	}
	state["key"] = key
	state["scalar"], state["text"], state["none"] = 1.5, "text", tree.None
	return state
}

// Whatever is stored in whatever form, all ways of loading give the same mapped.
func TestMappedEqualsRead(t *testing.T) {
	view.MapAll(t)
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		path := filepath.Join(dir, strconv.Itoa(n))
		s := handler.StorageOptions{
			Zarr2:      rapid.Bool().Draw(rt, "zarr2"),
			PlainFiles: rapid.Bool().Draw(rt, "plain files"),
		}
		s.ChunkByteSize = rapid.SampledFrom([]int{0, 1 << 12, 1 << 14}).Draw(rt, "chunk bytes")
		if rapid.IntRange(0, 3).Draw(rt, "zstd") == 0 {
			s.Compression = zarr.Zstd(1)
		}
		if err := orbax.Save(t.Context(), path, drawMapped(rt), orbax.Storage(s)); err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(path)
		ck, err := orbax.Open(t.Context(), path)
		if err != nil {
			rt.Fatal(err)
		}
		defer ck.Close()
		want, err := ck.Load(t.Context())
		if err != nil {
			rt.Fatal(err)
		}
		meta, err := ck.Metadata(t.Context())
		if err != nil {
			rt.Fatal(err)
		}
		o := orbax.Mapped()
		if rapid.Bool().Draw(rt, "unverified") {
			o = orbax.MappedUnverified()
		}
		for name, load := range map[string]func() (any, error){
			"Load": func() (any, error) { return ck.Load(t.Context(), o) },
			"LoadInto": func() (any, error) {
				into := map[string]any{}
				return into, ck.LoadInto(t.Context(), &into, o)
			},
			"LoadAbstract": func() (any, error) { return ck.LoadAbstract(t.Context(), meta, o) },
			"LoadCheckpointables": func() (any, error) {
				items, err := ck.LoadCheckpointables(t.Context(), nil, o)
				return items["state"], err
			},
		} {
			got, err := load()
			if err == nil {
				err = differ(t, got, want)
			}
			if err != nil {
				rt.Fatalf("%s: %v", name, err)
			}
		}
		if err := ck.VerifyMapped(t.Context()); err != nil {
			rt.Fatal(err)
		}
	})
}

// Arrays that a transformation joins of whole ones are mapped too; where it takes
// parts of chunks, or casts, they are read.
func TestMappedTransforms(t *testing.T) {
	state := map[string]any{}
	for i := range 3 {
		state[fmt.Sprint("e", i)] = array.Of(numbers(1 << 20)[i<<16:][:1<<19], 1<<9, 1<<10)
	}
	path := filepath.Join(t.TempDir(), "ck")
	if err := orbax.Save(t.Context(), path, state); err != nil {
		t.Fatal(err)
	}
	ck := open(t, path)
	e := transform.Leaf
	rules := orbax.Transform(
		transform.Set("stack", transform.Stack(0, e("e0"), e("e1"), e("e2"))),
		transform.Set("same", transform.Concat(0, e("e1"), e("e1"))),
		transform.Set("shape", e("e2").Reshape(1<<19)),
		transform.Set("side", transform.Concat(1, e("e0"), e("e1"))),
		transform.Set("part", e("e0").Slice(0, 1, 300, 1)),
		transform.Set("turned", e("e0").Transpose()),
		transform.Set("cast", e("e0").Cast(array.BFloat16)),
	)
	want, err := ck.Load(t.Context(), rules)
	if err != nil {
		t.Fatal(err)
	}
	var s orbax.Stats
	got, err := ck.Load(t.Context(), rules, orbax.Mapped(), orbax.Report(&s))
	if err != nil {
		t.Fatal(err)
	}
	if err := differ(t, got, want); err != nil {
		t.Fatal(err)
	}
	if err := ck.VerifyMapped(t.Context()); err != nil {
		t.Error(err)
	}
	// With the sources, which stay.
	if want := int64((3 + 3 + 2 + 1) << 21); canStitch(t) && s.Mapped != want {
		t.Errorf("%d bytes are mapped, want %d", s.Mapped, want)
	}
}

// canStitch reports whether chunks of a save begin on pages of the system.
func canStitch(t testing.TB) bool {
	s, err := mmap.Reserve(1, 0)
	if err == nil {
		s.Release()
	}
	return err == nil && mmap.PageSize() <= storage.PageSize
}

// What cannot be mapped is read.
func TestMappedFallsBack(t *testing.T) {
	state := map[string]any{"a": array.Of(numbers(1 << 19)), "b": array.Of(numbers(1 << 16))}
	path := filepath.Join(t.TempDir(), "ck")
	if err := orbax.Save(t.Context(), path, state, orbax.Storage(handler.StorageOptions{ArrayOptions: handler.ArrayOptions{ChunkByteSize: 1 << 20}})); err != nil {
		t.Fatal(err)
	}
	load := func(what string, ck *orbax.Checkpoint, mapped int64) {
		t.Helper()
		var s orbax.Stats
		got, err := ck.Load(t.Context(), orbax.Mapped(), orbax.Report(&s))
		if err != nil {
			t.Fatal(what, err)
		}
		if err := differ(t, got, state); err != nil {
			t.Fatal(what, err)
		}
		if mapped >= 0 && s.Mapped != mapped {
			t.Errorf("%s: %d bytes are mapped, want %d", what, s.Mapped, mapped)
		}
		if err := ck.VerifyMapped(t.Context()); err != nil {
			t.Error(what, err)
		}
	}
	if !canStitch(t) {
		load("not here", open(t, path), -1)
		return
	}
	load("all", open(t, path), 9<<18)

	files := fstest.MapFS{}
	if err := copyFiles(files, path); err != nil {
		t.Fatal(err)
	}
	ck, err := orbax.OpenFS(t.Context(), files, ".")
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	load("files in memory", ck, 0)

	// One mapping is the file's; the array in two chunks needs two more.
	for free, mapped := range []int64{0, 1 << 18, 1 << 18, 9 << 18} {
		s, err := mmap.Reserve(1, mmap.Free()-free)
		if err != nil {
			t.Fatal(err)
		}
		load(fmt.Sprint(free, " mappings"), open(t, path), mapped)
		s.Release()
	}
}

func copyFiles(to fstest.MapFS, dir string) error {
	return filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(name)
		to[filepath.ToSlash(rel)] = &fstest.MapFile{Data: data}
		return err
	})
}

// invented is an array whose parts say anything. They are uint8.
type invented []view.Part

func (a *invented) Parts(context.Context, []int, []int) ([]view.Part, error) { return *a, nil }

// asStored is the form of elements that are stored as they are.
type asStored struct{}

func (asStored) Decode(_ *view.Part, dst, enc []byte) error {
	copy(dst, enc)
	return nil
}

func (asStored) Direct(*view.Part, []byte) (func([]byte), func([]byte) error) {
	return func([]byte) {}, func([]byte) error { return nil }
}

func (asStored) Describe(_ *view.Part, err error) error { return err }

// Parts that lie about where they are do no harm: what cannot be mapped is read,
// and fails as it does without.
func TestMappedHostile(t *testing.T) {
	view.MapAll(t)
	dir := &view.Dir{Store: storage.Local(), Path: filepath.ToSlash(t.TempDir())}
	page := mmap.PageSize()
	data := make([]byte, 5*page)
	for i := range data {
		data[i] = byte(i * 7 / 3)
	}
	for _, name := range []string{"file", "../" + filepath.Base(dir.Path) + "-outside"} {
		if err := os.WriteFile(filepath.Join(dir.Path, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	part := func(off, n int, file string, at, length int64) view.Part {
		return view.Part{Offset: []int{off}, Size: []int{n}, Form: asStored{}, Dir: dir, File: file, At: at, Length: length}
	}
	n, p64 := 4*page, int64(page)
	for what, parts := range map[string]invented{
		"one":               {part(0, n, "file", 0, int64(n))},
		"anywhere":          {part(0, n, "file", 1, int64(n))},
		"with a rest":       {part(0, n, "file", 3, int64(n)+5)},
		"stitched":          {part(0, n/2, "file", 2*p64, 2*p64), part(n/2, n/2, "file", 0, 2*p64+7)},
		"in another order":  {part(n/2, n/2, "file", 0, 2*p64), part(0, n/2, "file", 2*p64, 2*p64)},
		"the same twice":    {part(0, n/2, "file", p64, 2*p64), part(n/2, n/2, "file", p64, 2*p64)},
		"not on pages":      {part(0, n/2, "file", 8, 2*p64), part(n/2, n/2, "file", 3*p64, 2*p64)},
		"before the file":   {part(0, n, "file", -8, int64(n))},
		"behind the file":   {part(0, n, "file", 5*p64, int64(n))},
		"past its end":      {part(0, n, "file", 2*p64, int64(n))},
		"far behind":        {part(0, n, "file", 1<<62, int64(n))},
		"overflowing":       {part(0, n, "file", math.MaxInt64-5, int64(n))},
		"a huge rest":       {part(0, n, "file", 0, 1<<62)},
		"of a missing file": {part(0, n, "missing", 0, int64(n))},
		"of a directory":    {part(0, n, ".", 0, int64(n))},
		"outside":           {part(0, n, "../"+filepath.Base(dir.Path)+"-outside", 0, int64(n))},
		"too short":         {part(0, n, "file", 0, int64(n)-1)},
		"negative":          {part(0, n, "file", 0, -1)},
	} {
		leaf, err := view.NewArray(view.LeafMetadata{Path: tree.Path{{Name: "a"}}, Kind: tree.KindArray, DType: array.Uint8, Shape: []int{n}}, &parts)
		if err != nil {
			t.Fatal(err)
		}
		whole := view.New("invented", []*view.Leaf{leaf})
		want, werr := whole.Load(t.Context())
		for _, verify := range []bool{false, true} {
			var m view.Mappings
			got, err := whole.Mapped(&m, verify).Load(t.Context())
			if (err == nil) != (werr == nil) || err != nil && err.Error() != werr.Error() {
				t.Errorf("%s: %v; read: %v", what, err, werr)
			} else if err == nil {
				if err := differ(t, got, want); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
			if err := m.Verify(t.Context()); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			if err := m.Close(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			if _, err := whole.Mapped(&m, verify).Load(t.Context()); !errors.Is(err, fs.ErrClosed) {
				t.Errorf("%s: after Close: %v", what, err)
			}
		}
	}
}
