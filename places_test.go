package orbax_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/zarr"
)

// storedChunk is where a chunk of a leaf is stored.
type storedChunk struct {
	leaf, file string
	at, n      int64
}

// in returns the stored bytes of the chunk.
func (c storedChunk) in(f files) []byte { return f[c.file][c.at:][:c.n] }

// put returns f with other bytes in the place of the chunk's.
func (c storedChunk) put(f files, enc []byte) files {
	return f.with(c.file, slices.Concat(f[c.file][:c.at], enc, f[c.file][c.at+c.n:]))
}

// chunks returns the chunks of a checkpointable that lie in data files, or are files.
func (f files) chunks(t *testing.T, part string) (all []storedChunk) {
	t.Helper()
	leafOf := func(key string) (leaf string, ok bool) {
		leaf, rest, below := strings.Cut(key, "/")
		return leaf, below && rest != "zarr.json" && rest != ".zarray" && leaf != "array_metadatas"
	}
	if f[part+"/manifest.ocdbt"] != nil {
		for e, err := range f.open(t, part).Entries(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			if leaf, ok := leafOf(e.Key); ok && !e.Value.IsInline() {
				all = append(all, storedChunk{leaf, part + "/" + e.Value.Ref.File, e.Value.Ref.Offset, e.Value.Ref.Length})
			}
		}
		return all
	}
	for _, name := range f.names() {
		if key, ok := strings.CutPrefix(name, part+"/"); ok {
			if leaf, ok := leafOf(key); ok {
				all = append(all, storedChunk{leaf, name, 0, int64(len(f[name]))})
			}
		}
	}
	return all
}

// placedForms are the ways to store chunks.
func placedForms() map[string]handler.StorageOptions {
	small := handler.ArrayOptions{ChunkByteSize: 2048}
	compressed := func(c zarr.Compression) handler.ArrayOptions {
		return handler.ArrayOptions{ChunkByteSize: 2048, Compression: c}
	}
	return map[string]handler.StorageOptions{
		"database":             {ArrayOptions: small},
		"database, zarr2":      {ArrayOptions: small, Zarr2: true},
		"database, zstd":       {ArrayOptions: compressed(zarr.Zstd(3))},
		"database, Huffman":    {ArrayOptions: compressed(zarr.Huffman())},
		"files":                {ArrayOptions: small, PlainFiles: true},
		"files, zarr2":         {ArrayOptions: small, PlainFiles: true, Zarr2: true},
		"files, zstd":          {ArrayOptions: compressed(zarr.Zstd(3)), PlainFiles: true},
		"files, zstd in zarr2": {ArrayOptions: compressed(zarr.Zstd(3)), PlainFiles: true, Zarr2: true},
	}
}

// placedState is the state of a step. No two chunks of a step or of different steps are
// equal, and all of an array are encoded in equally many bytes.
func placedState(step int) map[string]any {
	part := func(part int) map[string]any {
		leaf := func(leaf int) *array.Array {
			data := make([]float32, 2048)
			for i := range data {
				data[i] = float32(1 + i/512 + 10*leaf + 100*part + 1000*step)
			}
			return array.Of(data, 4, 512)
		}
		mesh := sharding.Mesh{AxisNames: []string{"x"}, Shape: []int{2}}
		return map[string]any{
			"a": leaf(1), "b": leaf(2), "n": step,
			"sharded": leaf(3).WithSharding(sharding.Named(mesh, sharding.PartitionSpec{{"x"}})),
		}
	}
	return map[string]any{"state": part(1), "opt": part(2)}
}

// A chunk in the place of another one of the same size, of the same array, of another
// leaf, of another checkpointable, or of another step, is whole, and does not belong
// there: Verify and whatever reads the leaf must find that.
func TestChunksInWrongPlaces(t *testing.T) {
	t.Parallel()
	for name, s := range placedForms() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			steps := make([]files, 2)
			for i := range steps {
				steps[i] = saveFiles(t, placedState(1+i), s)
			}
			f, found := steps[0], map[string]int{}
			for i, to := range f.chunks(t, "state") {
				for step, g := range steps {
					for _, part := range []string{"state", "opt"} {
						for _, from := range g.chunks(t, part) {
							if from.n != to.n || bytes.Equal(from.in(g), to.in(f)) {
								continue
							}
							if found[fmt.Sprint(step, part)]++; found[fmt.Sprint(step, part)]%testenv.Pick(1, 7) != 1%testenv.Pick(1, 7) {
								continue // a quick run tries some
							}
							what := fmt.Sprintf("%s of leaf %s with the bytes of leaf %s of %s of step %d", to.file, to.leaf, from.leaf, part, step)
							damaged := to.put(f, from.in(g))
							if step == 0 { // they change places
								damaged = from.put(damaged, to.in(f))
							}
							if i == 0 && found[fmt.Sprint(step, part)] == 1 {
								checkEveryReader(t, what, damaged, to.leaf)
							}
							checkMisplaced(t, what, verifyFiles(t.Context(), damaged), to.leaf)
							_, err := loadFiles(t.Context(), damaged)
							checkMisplaced(t, what, err, "")
						}
					}
				}
			}
			if len(found) != 4 {
				t.Errorf("only %v", found)
			}
		})
	}
}

// checkMisplaced looks whether err says which chunk of which leaf is damaged; of any
// leaf if that is "".
func checkMisplaced(t *testing.T, what string, err error, leaf string) {
	t.Helper()
	if !errors.Is(err, orbax.ErrCorrupt) || !strings.Contains(fmt.Sprint(err), "leaf "+leaf) || !strings.Contains(fmt.Sprint(err), "chunk ") {
		t.Errorf("%s: %v", what, err)
	}
}

// checkEveryReader looks whether each way to read a leaf of the checkpointable "state"
// finds the damage.
func checkEveryReader(t *testing.T, what string, f files, leaf string) {
	t.Helper()
	ck, err := orbax.Open(t.Context(), "ckpt", f.in())
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	_, err = ck.Hash(t.Context(), orbax.Name("state"))
	checkMisplaced(t, what+", Hash", err, "")
	tree, err := ck.Tree(t.Context(), orbax.Name("state"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := tree.Leaf(leaf)
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Load(t.Context())
	checkMisplaced(t, what+", a leaf", err, leaf)
	_, err = l.Region(t.Context(), []int{0, 3}, []int{4, 2})
	checkMisplaced(t, what+", a region", err, leaf)
	lazy, err := tree.Lazy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(t.TempDir(), "again")
	checkMisplaced(t, what+", a save of what is not loaded", orbax.Save(t.Context(), again, lazy), "")
}

// saveFiles saves checkpointables and returns the files.
func saveFiles(t *testing.T, items map[string]any, s handler.StorageOptions) files {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ck")
	if err := orbax.SaveCheckpointables(t.Context(), dir, items, orbax.Storage(s)); err != nil {
		t.Fatal(err)
	}
	f := readFiles(t, dir)
	if err := verifyFiles(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	return f
}

// A data file of another step in the place of one, and the whole database of another
// step beside the old files, as a copy without deletion leaves it.
func TestDataOfAnotherStep(t *testing.T) {
	t.Parallel()
	for name, s := range placedForms() {
		if s.PlainFiles {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, g := saveFiles(t, placedState(1), s), saveFiles(t, placedState(2), s)
			place := f.chunks(t, "state")[0]
			damaged := f.with(place.file, g[g.chunks(t, "state")[0].file])
			err := verifyFiles(t.Context(), damaged)
			for _, leaf := range []string{"a", "b", "sharded"} {
				checkMisplaced(t, "a data file", err, leaf)
			}
			_, err = loadFiles(t.Context(), damaged)
			checkMisplaced(t, "a data file", err, "")

			damaged = f
			for file, data := range g {
				if file == "state/manifest.ocdbt" || strings.HasPrefix(file, "state/d/") {
					damaged = damaged.with(file, data)
				}
			}
			err = verifyFiles(t.Context(), damaged)
			checkMisplaced(t, "a database", err, "n") // whose chunk lies in the index
			_, err = loadFiles(t.Context(), damaged)
			checkMisplaced(t, "a database", err, "")
		})
	}
}

// Mapped memory is compared with the place that it is for when it is verified.
func TestMappedInWrongPlace(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "ck")
	state := map[string]any{}
	for i, name := range []string{"a", "b"} {
		data := make([]uint32, 1<<19)
		for j := range data {
			data[j] = uint32(i<<20 + j)
		}
		state[name] = array.Of(data)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(orbax.Save(t.Context(), dir, state))
	f := readFiles(t, dir)
	chunks := f.chunks(t, "state")
	a, b := chunks[0], chunks[len(chunks)-1]
	damaged := b.put(a.put(f, b.in(f)), a.in(f))
	for name, data := range damaged {
		must(os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), data, 0o666))
	}
	ck, err := orbax.Open(t.Context(), dir)
	must(err)
	defer ck.Close()
	_, err = ck.Load(t.Context(), orbax.Mapped())
	checkMisplaced(t, "Mapped", err, "a")
	checkMisplaced(t, "Mapped", err, "b")
	if _, err = ck.Load(t.Context(), orbax.MappedUnverified()); err == nil { // else nothing can be mapped, and all was read
		err = ck.VerifyMapped(t.Context())
	}
	checkMisplaced(t, "VerifyMapped", err, "b")
}

// A record of places is a document like others: what is lost or changed of it is found,
// and a chunk that is missing is named.
func TestPlacesRecord(t *testing.T) {
	t.Parallel()
	for name, s := range placedForms() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := saveFiles(t, placedState(1), s)
			const record = "state/go-orbax.places"
			for what, data := range map[string][]byte{
				"missing": nil, "of another part": f["opt/go-orbax.places"], "cut off": f[record][:40],
			} {
				for _, err := range []error{verifyFiles(t.Context(), f.with(record, data)), second(loadFiles(t.Context(), f.with(record, data)))} {
					if !errors.Is(err, orbax.ErrCorrupt) || !strings.Contains(err.Error(), path.Base(record)) {
						t.Errorf("%s: %v", what, err)
					}
				}
			}
			if !s.PlainFiles {
				return
			}
			chunk := f.chunks(t, "state")[1]
			for _, err := range []error{verifyFiles(t.Context(), f.with(chunk.file, nil)), second(loadFiles(t.Context(), f.with(chunk.file, nil)))} {
				if !errors.Is(err, orbax.ErrCorrupt) || !strings.Contains(err.Error(), strings.TrimPrefix(chunk.file, "state/")+" is missing") {
					t.Errorf("%s is missing: %v", chunk.file, err)
				}
			}
		})
	}
}
