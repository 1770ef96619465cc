package view_test

import (
	"archive/zip"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"testing"

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
	zips, err := filepath.Glob(filepath.Join("..", "interop", "layouts", "testdata", "layouts", "*.zip"))
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
	if loaded < 100 {
		t.Errorf("only %d loads", loaded)
	}
	if mapped == 0 && canMap() {
		t.Errorf("none of %d loads mapped anything", loaded)
	}
}

// drawMapped returns a tree whose arrays are stored in one chunk or in several, of
// pages or not.
func drawMapped(rt *rapid.T) map[string]any {
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
	state := map[string]any{}
	for i := range rapid.IntRange(1, 6).Draw(rt, "leaves") {
		d := rapid.SampledFrom([]array.DType{
			array.Bool, array.Int2, array.Int4, array.Float4E2M1FN,
			array.Uint8, array.BFloat16, array.Float32, array.Int64, array.Complex128,
		}).Draw(rt, "dtype")
		shape := rapid.SampledFrom([][]int{
			{}, {0}, {7}, {33, 5}, {1 << 10, 4}, {4, 1 << 10}, {5, 1 << 12},
		}).Draw(rt, "shape")
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
	if want := int64((3 + 3 + 2 + 1) << 21); canStitch() && s.Mapped != want {
		t.Errorf("%d bytes are mapped, want %d", s.Mapped, want)
	}
}

// canMap reports whether the system can map files.
func canMap() bool {
	s, err := mmap.Reserve(1, 0)
	if err == nil {
		s.Release()
	}
	return err == nil
}

// canStitch reports whether chunks of a save begin on pages of the system too.
func canStitch() bool { return canMap() && mmap.PageSize() <= storage.PageSize }
