package orbax_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// smallLayouts are checkpoints of other writers, one of each kind, in few bytes,
// and the name of each in its archive. Package interop has what is in them.
var smallLayouts = [][2]string{
	{"bare_ocdbt_array", "db"},
	{"bare_zarr2_array", "array"},
	{"bare_zarr3_array", "array"},
	{"bare_zarr3_folder", "all"},
	{"ocdbt_out_of_line", "ckpt"},
	{"processes_v0_unmerged", "v0"},
	{"python_zarr2_group", "group"},
	{"python_zarr3_group", "group"},
	{"safetensors_file", "model.safetensors"},
	{"safetensors_folder", "model"},
	{"v0_bare_leaf", "ckpt"},
	{"v0_files_zarr2", "ckpt"},
	{"flax_0_8_5_chunked_file", "model.msgpack"},
	{"orbax_0_2_3_manager", "run/2"},
	{"orbax_0_5_10_partly_aggregated_ocdbt", "ckpt"},
	{"v0_msgpack", "ckpt"},
	{"v0_msgpack", "ckpt/checkpoint"},
	{"v0_msgpack_and_files", "ckpt"},
	{"v0_old_composite", "run/step_000042"},
	{"v0_old_flat", "ckpt"},
	{"v0_random_key", "ckpt"},
	{"v1_bare_leaf_files", "ckpt"},
	{"v1_keys", "ckpt"},
	{"v1_rich", "ckpt"},
	{"v1_sharded_chunks", "ckpt"},
}

// unzip returns the files of an archive.
func unzip(t testing.TB, row string) fstest.MapFS {
	t.Helper()
	r, err := zip.OpenReader("interop/layouts/testdata/layouts/" + row + ".zip")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	all := fstest.MapFS{}
	for _, f := range r.File {
		if f.FileInfo().IsDir() {
			continue
		}
		b, err := fs.ReadFile(r, f.Name)
		if err != nil {
			t.Fatal(err)
		}
		all[f.Name] = &fstest.MapFile{Data: b}
	}
	return all
}

// FuzzLayouts changes or removes a file of a small checkpoint of another writer.
// Nothing may panic or take much memory, errors must be of a class, but not say
// that the checkpoint does not exist, and all ways to read it must agree.
func FuzzLayouts(f *testing.F) {
	var seeds []fstest.MapFS
	for i, row := range smallLayouts {
		all := unzip(f, row[0])
		seeds = append(seeds, all)
		for n := range len(all) {
			changed := func() { f.Add(uint8(i), uint8(n), uint16(10), uint16(1), []byte{0xff}) }
			shorter := func() { f.Add(uint8(i), uint8(n), uint16(40), uint16(4000), []byte{}) }
			removed := func() { f.Add(uint8(i), uint8(n), uint16(0xffff), uint16(0), []byte{}) }
			seeds := []func(){changed, shorter, removed}
			for _, add := range testenv.Pick(seeds, seeds[n%3:][:1]) {
				add()
			}
		}
	}
	f.Fuzz(func(t *testing.T, row, file uint8, at, remove uint16, insert []byte) {
		i := int(row) % len(seeds)
		all := fstest.MapFS{}
		for name, f := range seeds[i] {
			all[name] = f
		}
		name := names(all)[int(file)%len(all)]
		if old := all[name].Data; at == 0xffff {
			delete(all, name)
		} else {
			lo := min(int(at), len(old))
			hi := min(lo+int(remove), len(old))
			all[name] = &fstest.MapFile{Data: slices.Concat(old[:lo], insert, old[hi:])}
		}
		if len(all) > 0 {
			readInAllWays(t, all, smallLayouts[i][1])
		}
	})
}

func names(all fstest.MapFS) []string {
	var names []string
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// readInAllWays reads a checkpoint that may be damaged.
func readInAllWays(t *testing.T, all fstest.MapFS, dir string) {
	t.Helper()
	ctx := t.Context()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	ck, err := orbax.Open(ctx, dir, orbax.In(storage.FS(all)))
	if err != nil {
		if _, serr := fs.Stat(all, dir); serr == nil {
			classed(t, "Open", err)
		}
		return
	}
	defer ck.Close()
	classed(t, "Verify", ck.Verify(ctx))
	_, err = ck.CheckpointablesMetadata(ctx)
	classed(t, "CheckpointablesMetadata", err)
	parts := ck.Names()
	if len(parts) == 0 {
		parts = []string{""}
	} else {
		_, err = ck.LoadCheckpointables(ctx, nil)
		classed(t, "LoadCheckpointables", err)
	}
	for _, part := range parts {
		readPart(t, ck, orbax.Name(part))
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 100<<20 {
		t.Errorf("%d MiB are allocated", n>>20)
	}
	if meta, err := ck.Metadata(ctx, orbax.FillMissing()); classed(t, "Metadata", err) && meta.Tree != nil && meta.Tree.Bytes() < 1<<20 {
		_, err := ck.Load(ctx, orbax.FillMissing())
		classed(t, "Load with FillMissing", err)
	}
}

func readPart(t *testing.T, ck *orbax.Checkpoint, name orbax.LoadOption) {
	t.Helper()
	ctx := t.Context()
	v, err := ck.Load(ctx, name)
	if !classed(t, "Load", err) {
		v = nil
	}
	meta, err := ck.Metadata(ctx, name)
	if !classed(t, "Metadata", err) || meta.Tree == nil {
		return
	}
	opened, err := ck.Tree(ctx, name)
	if !classed(t, "Tree", err) {
		return
	}
	into, err := ck.LoadAbstract(ctx, meta, name)
	if classed(t, "LoadAbstract", err) != (v != nil) || v != nil && !same(into, v) && !hasNaN(v) {
		t.Errorf("Load gives %v, LoadAbstract %v and %v", v, into, err)
	}
	lazy, err := opened.Lazy(ctx)
	classed(t, "Lazy", err)
	if lazy != nil {
		_, err := handler.PyTreeHandler{}.Save(ctx, lazy, handler.SaveOptions{})
		classed(t, "Save", err)
	}
	classed(t, "CopyTo", opened.CopyTo(ctx, discard{}, func(*view.LeafMetadata) (int64, bool) { return 0, true }))
	var leaves []tree.Leaf
	if v != nil {
		if leaves, err = tree.Flatten(v); err != nil {
			t.Error(err)
		}
	}
	for name, l := range opened.Leaves() {
		if l.DType() == array.Invalid {
			continue
		}
		off, size := make([]int, len(l.Shape())), l.Shape()
		for i := range size {
			off[i] = size[i] / 2
			size[i] -= off[i]
		}
		got, err := l.Region(ctx, off, size)
		if !classed(t, "Region", err) || v == nil {
			continue
		}
		i := slices.IndexFunc(leaves, func(l tree.Leaf) bool { return l.Path.String() == name })
		if i < 0 {
			t.Errorf("Load gives no leaf %s", name)
			continue
		}
		whole, ok := leaves[i].Value.(*array.Array)
		if !ok {
			continue
		}
		want := make([]byte, len(got.Bytes()))
		if err := whole.ReadRegion(ctx, want, off, size); err != nil || !bytes.Equal(want, got.Bytes()) {
			t.Errorf("%s at %v: %x and %v, want %x", name, off, got.Bytes(), err, want)
		}
	}
}

// discard is an io.WriterAt.
type discard struct{}

func (discard) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// hasNaN reports whether a loaded value has a number that differs from itself.
func hasNaN(v any) bool { return !same(v, v) }

// classed reports whether err is nil. Others must say what is wrong.
func classed(t *testing.T, what string, err error) bool {
	t.Helper()
	switch {
	case err == nil:
		return true
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, context.DeadlineExceeded):
		t.Errorf("%s: %v is of a wrong class", what, err)
	case !isAny(err, orbax.ErrCorrupt, orbax.ErrUnsupported, orbax.ErrStructure, orbax.ErrShape, orbax.ErrDType, orbax.ErrLeafType,
		orbax.ErrIncomplete, orbax.ErrKeyCollision, orbax.ErrInvalidCheckpoint, orbax.ErrReservedName):
		t.Errorf("%s: %v is of no class", what, err)
	}
	return false
}

// Every value in every document is replaced, one at a time, by others of all
// kinds.
func TestHostileLayoutDocuments(t *testing.T) {
	stride, n := testenv.Pick(13, 997), 0
	values := []any{nil, true, "", "x", -1, 0, 3, 1 << 31, 1 << 40, 1 << 62, 1e300, []any{}, map[string]any{}, strings.Repeat("../", 20)}
	for _, row := range smallLayouts {
		all := unzip(t, row[0])
		for _, name := range names(all) {
			var doc any
			dec := json.NewDecoder(bytes.NewReader(all[name].Data))
			dec.UseNumber()
			if dec.Decode(&doc) != nil {
				continue
			}
			eachValue(doc, func(set func(any)) {
				for _, v := range values {
					if n++; n%stride != 0 {
						continue
					}
					set(v)
					b, err := json.Marshal(doc)
					if err != nil {
						t.Fatal(err)
					}
					hostile := maps.Clone(all)
					hostile[name] = &fstest.MapFile{Data: b}
					readInAllWays(t, hostile, row[1])
					if t.Failed() {
						t.Fatalf("%s: %s: %s", row[0], name, b)
					}
				}
			})
		}
	}
}

// eachValue calls f for each value in v but v itself, with what replaces it. The
// old value is back afterwards.
func eachValue(v any, f func(set func(any))) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			old := v[k]
			f(func(n any) { v[k] = n })
			v[k] = old
			eachValue(old, f)
		}
	case []any:
		for i, old := range v {
			f(func(n any) { v[i] = n })
			v[i] = old
			eachValue(old, f)
		}
	}
}

// What is in the archives is read without an error.
func TestSmallLayouts(t *testing.T) {
	for _, row := range smallLayouts {
		all := unzip(t, row[0])
		ck, err := orbax.Open(t.Context(), row[1], orbax.In(storage.FS(all)))
		if err != nil {
			t.Fatal(err)
		}
		if err := ck.Verify(t.Context()); err != nil {
			t.Error(err)
		}
		readInAllWays(t, all, row[1])
	}
}
