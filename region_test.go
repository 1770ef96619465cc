package orbax_test

import (
	"archive/zip"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/zarr"
)

// chunked is an array in a checkpoint, and what of it can only be read whole.
type chunked struct {
	path, leaf string
	chunk      []int // the smallest boxes that are stored apart
	stored     int64 // bytes of one, at most
	shard      []int // boxes of several chunks with an index before them; nil: none
	index      int64 // bytes of the index
}

// bound returns the most bytes that a box may cost, in chunks and in what lies
// between them in the file.
func (c *chunked) bound(off, size []int) int64 {
	const gap = 64 << 10 // that are read rather than left out, see internal/transfer
	n := overlapping(c.chunk, off, size)
	bytes := n*c.stored + max(0, n-1)*gap
	if c.shard != nil {
		bytes += overlapping(c.shard, off, size) * c.index
	}
	return bytes
}

// overlapping returns how many chunks of the given shape meet a box.
func overlapping(chunk, off, size []int) int64 {
	n := int64(1)
	for i, c := range chunk {
		if size[i] == 0 {
			return 0
		}
		n *= int64((off[i]+size[i]-1)/c - off[i]/c + 1)
	}
	return n
}

// A region costs the chunks that it overlaps, and no others.
func TestRegionsReadOverlappingChunks(t *testing.T) {
	for name, make := range map[string]func(*testing.T) *chunked{
		"database":    func(t *testing.T) *chunked { return savedInChunks(t, handler.StorageOptions{}) },
		"files":       func(t *testing.T) *chunked { return savedInChunks(t, handler.StorageOptions{PlainFiles: true}) },
		"zarr2":       func(t *testing.T) *chunked { return savedInChunks(t, handler.StorageOptions{Zarr2: true}) },
		"zstd":        savedCompressed,
		"sharded":     shardedByOrbax,
		"shards":      storedInShards,
		"one chunk":   storedInOneChunk,
		"safetensors": storedAsTensor,
	} {
		t.Run(name, func(t *testing.T) { checkRegionReads(t, make(t)) })
	}
}

func checkRegionReads(t *testing.T, c *chunked) {
	ctx := t.Context()
	w := &watch{}
	ck, err := orbax.Open(ctx, filepath.ToSlash(c.path), w.in())
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	opened, err := ck.Tree(ctx)
	if err != nil {
		t.Fatal(err)
	}
	l, err := opened.Leaf(c.leaf)
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := w.total(); n > 32<<10 {
		t.Errorf("%d bytes were read to open it", n)
	}
	v, err := l.Load(ctx)
	if err != nil {
		t.Fatal(err)
	}
	whole := v.(*array.Array)
	r := rand.New(rand.NewPCG(1, 2))
	var cost, most int64
	for range testenv.Pick(100, 30) {
		off, size := randomSlab(r, whole.Shape())
		w.reset()
		got, err := l.Region(ctx, off, size)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Equal(slab(t, whole, off, size)) {
			t.Fatalf("the region %v at %v differs", size, off)
		}
		total, n := w.total()
		if bound := c.bound(off, size); n > bound || n < int64(len(got.Bytes())) || total-n > 4<<10 {
			t.Fatalf("the region %v at %v, %d bytes, cost %d bytes, its chunks have %d", size, off, len(got.Bytes()), n, bound)
		}
		cost += n
		most += int64(len(whole.Bytes()))
	}
	if cost > most/2 {
		t.Errorf("100 regions cost %d bytes, all of the array each time %d", cost, most)
	}
}

// randomSlab returns a box in an array, half of the time a small one.
func randomSlab(r *rand.Rand, shape []int) (off, size []int) {
	small := r.IntN(2) == 0
	for _, n := range shape {
		a, b := r.IntN(n+1), r.IntN(n+1)
		if small {
			b = min(n, a+r.IntN(1+n/8))
		}
		off, size = append(off, min(a, b)), append(size, max(a, b)-min(a, b))
	}
	return off, size
}

func slab(t *testing.T, whole *array.Array, off, size []int) *array.Array {
	t.Helper()
	a, err := array.New(whole.DType(), size, nil)
	if err != nil {
		t.Fatal(err)
	}
	must(t, whole.ReadRegion(t.Context(), a.Bytes(), off, size))
	return a
}

// noise returns an array that nothing makes smaller.
func noise(t *testing.T, shape ...int) *array.Array {
	t.Helper()
	a, err := array.New(array.Uint32, shape, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.NewChaCha8([32]byte{1})
	r.Read(a.Bytes())
	return a
}

const quarter = 256 << 10 // bytes of a chunk

func savedInChunks(t *testing.T, s handler.StorageOptions) *chunked {
	path := filepath.Join(t.TempDir(), "ckpt")
	s.ChunkByteSize = quarter
	must(t, orbax.Save(t.Context(), path, map[string]any{"w": noise(t, 70, 300, 100)}, orbax.Storage(s)))
	meta, err := orbax.Metadata(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	c := &chunked{path: path, leaf: "w", chunk: meta.Tree.Leaves[0].ChunkShape}
	n, err := array.NumElements(c.chunk)
	if err != nil {
		t.Fatal(err)
	}
	c.stored = int64(n)*4 + 64 // checksums, and the headers of a zstd frame
	return c
}

func savedCompressed(t *testing.T) *chunked {
	return savedInChunks(t, handler.StorageOptions{ArrayOptions: handler.ArrayOptions{Compression: zarr.Zstd(1)}})
}

// layoutOf unpacks a checkpoint that another program has written, see interop.
func layoutOf(t *testing.T, row string) string {
	t.Helper()
	r, err := zip.OpenReader(filepath.Join("interop", "layouts", "testdata", "layouts", row+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	dir := t.TempDir()
	must(t, os.CopyFS(dir, r))
	return dir
}

// shardedByOrbax is an array of 1024×1024 uint32, over 2×4 devices.
func shardedByOrbax(t *testing.T) *chunked {
	path := filepath.Join(layoutOf(t, "v1_sharded_large"), "ckpt")
	meta, err := orbax.Metadata(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return &chunked{path: path, leaf: "w", chunk: meta.Tree.Leaves[0].ChunkShape, stored: quarter + 20} // an index of its own
}

// storedInShards is the same array, as TensorStore stores it in two shards.
func storedInShards(t *testing.T) *chunked {
	return &chunked{
		path: filepath.Join(layoutOf(t, "bare_zarr3_large_shards"), "all"), leaf: "w",
		chunk: []int{256, 256}, stored: quarter + 4,
		shard: []int{512, 1024}, index: 8*16 + 4,
	}
}

// bigShape is that of 20 MiB, of which whole rows of the first axis are read.
var bigShape = []int{40, 128, 1024}

func bigArray(t *testing.T) (a *array.Array, c *chunked) {
	return noise(t, bigShape...), &chunked{chunk: []int{1, 128, 1024}, stored: 128 * 1024 * 4}
}

// storedInOneChunk is an array of which nothing is compressed or has a checksum.
func storedInOneChunk(t *testing.T) *chunked {
	a, c := bigArray(t)
	c.path = t.TempDir()
	doc, err := json.Marshal(map[string]any{
		"zarr_format": 3, "node_type": "array", "shape": bigShape, "data_type": "uint32", "fill_value": 0,
		"chunk_grid":         map[string]any{"name": "regular", "configuration": map[string]any{"chunk_shape": bigShape}},
		"chunk_key_encoding": map[string]any{"name": "default"},
		"codecs":             []any{map[string]any{"name": "bytes", "configuration": map[string]any{"endian": "little"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	must(t, os.WriteFile(filepath.Join(c.path, "zarr.json"), doc, 0o666))
	must(t, os.MkdirAll(filepath.Join(c.path, "c", "0", "0"), 0o777))
	must(t, os.WriteFile(filepath.Join(c.path, "c", "0", "0", "0"), a.Bytes(), 0o666))
	return c
}

func storedAsTensor(t *testing.T) *chunked {
	a, c := bigArray(t)
	c.path, c.leaf = filepath.Join(t.TempDir(), "model.safetensors"), "w"
	writeTensors(t, c.path, map[string]*array.Array{"w": a})
	return c
}

// What is not asked for is not read, and of what is described nothing is.
func TestPartialLoadsReadNothingElse(t *testing.T) {
	a := noise(t, 64, 1024)
	value := map[string]any{"a": a, "b": noise(t, 256, 1024), "c": noise(t, 512, 1024)}
	for name, save := range map[string]func(path string){
		"database": func(path string) { must(t, orbax.Save(t.Context(), path, value)) },
		"files": func(path string) {
			must(t, orbax.Save(t.Context(), path, value, orbax.Storage(handler.StorageOptions{PlainFiles: true})))
		},
		"safetensors": func(path string) {
			tensors := map[string]*array.Array{}
			for k, v := range value {
				tensors[k] = v.(*array.Array)
			}
			must(t, os.Mkdir(path, 0o777))
			writeTensors(t, filepath.Join(path, "model.safetensors"), tensors)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ckpt")
			save(path)
			w := &watch{}
			for how, load := range partialLoads(filepath.ToSlash(path), w.in(), a) {
				w.reset()
				got, err := load(t)
				if err != nil {
					t.Fatalf("%s: %v", how, err)
				}
				want := 0
				if got != nil {
					want = len(a.Bytes())
					if !a.Equal(got) {
						t.Errorf("%s: got %v", how, got)
					}
				}
				if n, _ := w.total(); n < int64(want) || n > int64(want)+32<<10 {
					t.Errorf("%s: read %d bytes, for %d", how, n, want)
				}
				for _, file := range w.files() {
					if strings.Contains(file, "/b/c/") || strings.Contains(file, "/c/c/") {
						t.Errorf("%s: read %s", how, file)
					}
				}
			}
		})
	}
}

// partialLoads are ways to load the leaf "a" alone, or to load nothing.
func partialLoads(path string, in orbax.StoreOption, like *array.Array) map[string]func(*testing.T) (*array.Array, error) {
	one := func(v any, err error) (*array.Array, error) {
		if err != nil {
			return nil, err
		}
		return v.(map[string]any)["a"].(*array.Array), nil
	}
	into := func(t *testing.T, target map[string]any, options ...orbax.LoadOption) (*array.Array, error) {
		return one(target, orbax.LoadInto(t.Context(), path, target, append(options, in)...))
	}
	return map[string]func(*testing.T) (*array.Array, error){
		"Select": func(t *testing.T) (*array.Array, error) {
			return one(orbax.Load(t.Context(), path, orbax.Select("a"), in))
		},
		"Partial": func(t *testing.T) (*array.Array, error) { return into(t, map[string]any{"a": nil}, orbax.Partial()) },
		"Placeholder": func(t *testing.T) (*array.Array, error) {
			return into(t, map[string]any{"a": nil, "b": tree.Placeholder, "c": tree.Placeholder})
		},
		"LoadAbstract": func(t *testing.T) (*array.Array, error) {
			return one(orbax.LoadAbstract(t.Context(), path, map[string]any{"a": array.Abstract(like), "b": tree.Placeholder, "c": tree.Placeholder}, in))
		},
		"Metadata": func(t *testing.T) (*array.Array, error) {
			_, err := orbax.Metadata(t.Context(), path, in)
			return nil, err
		},
		"refused": func(t *testing.T) (*array.Array, error) {
			if err := orbax.LoadInto(t.Context(), path, map[string]any{"a": nil}, in); err == nil {
				t.Error("a target without b and c was accepted")
			}
			return nil, nil
		},
	}
}
