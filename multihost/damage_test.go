package multihost_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/storage/mem"
)

// A damaged chunk stops the processes whose shards need it, with an error that names the
// leaf, and no others: neither those whose shards are on one side of it nor those whose
// shards are on both.
func TestDamageElsewhere(t *testing.T) {
	w := count(8, 512)
	for _, plain := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "a")
		storage := handler.StorageOptions{PlainFiles: plain, ArrayOptions: handler.ArrayOptions{ChunkByteSize: 2048}}
		must(t, orbax.Save(t.Context(), path, map[string]any{"w": w.WithSharding(grid(8, 1, []string{"x"}))}, orbax.Storage(storage)))
		// A bit of row 3 changes. Its elements are in no other row.
		damage(t, path, string(w.Bytes()[3*2048:4*2048]))
		for _, c := range []struct {
			owner func(device int) int
			bad   []bool
		}{
			{nil, []bool{false, true, false, false}},
			{func(device int) int { return device % 4 }, []bool{false, false, false, true}},
			{func(device int) int { return []int{0, 1, 0, 2, 0, 1, 0, 3}[device] }, []bool{false, false, true, false}},
		} {
			for rank, group := range coord.InProcess(4) {
				target := map[string]any{"w": abstract(grid(8, 1, []string{"x"}), 8, 512)}
				v, err := orbax.LoadAbstract(t.Context(), path, target, multihost.Together{Group: group, Owner: c.owner})
				switch {
				case c.bad[rank] && (!errors.Is(err, orbax.ErrCorrupt) || !strings.Contains(err.Error(), "leaf w: ")):
					t.Errorf("process %d got %v", rank, err)
				case !c.bad[rank] && err != nil:
					t.Errorf("process %d, whose shards are intact: %v", rank, err)
				case !c.bad[rank]:
					a := v.(map[string]any)["w"]
					check(t, a, w, len(a.(*array.Sharded).Shards()))
				}
			}
		}
	}
}

// damage changes a bit of the bytes in the only file of a checkpoint that has them.
func damage(t *testing.T, dir, bytes string) {
	t.Helper()
	found := 0
	must(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		if i := strings.Index(string(data), bytes); i >= 0 {
			data[i+17] ^= 4
			found++
			return errors.Join(err, os.WriteFile(name, data, 0o600))
		}
		return err
	}))
	if found != 1 {
		t.Fatalf("%d files have the chunk", found)
	}
}

// A process that has columns of a large array without chunks reads the rows once, even if
// the columns are apart.
func TestColumnsOfRawArray(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.safetensors")
	w := count(64, 128, 1024) // 32 MiB
	orbaxtest.WriteTensors(t, path, map[string]*array.Array{"w": w})
	owner := func(device int) int { return device % 2 }
	target := map[string]any{"w": abstract(grid(1, 4, nil, nil, []string{"y"}), w.Shape()...)}
	var stats orbax.Stats
	v, err := orbax.LoadAbstract(t.Context(), path, target, orbax.Report(&stats), multihost.Together{Group: coord.InProcess(2)[1], Owner: owner})
	must(t, err)
	check(t, v.(map[string]any)["w"], w, 2)
	if stats.Moved > 33<<20 {
		t.Errorf("%d bytes were read", stats.Moved)
	}
	target["w"] = abstract(grid(4, 1, []string{"x"}), w.Shape()...)
	if v, err = orbax.LoadAbstract(t.Context(), path, target, orbax.Report(&stats), multihost.Together{Group: coord.InProcess(2)[1], Owner: owner}); err != nil {
		t.Fatal(err)
	}
	check(t, v.(map[string]any)["w"], w, 2)
	if stats.Moved > 17<<20 {
		t.Errorf("%d bytes were read for half of the rows", stats.Moved)
	}
}

// A missing chunk is damage of its leaf for every process, because the documents show it.
// FillMissing fills its elements in the shards that have them.
func TestMissingChunk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	w := count(8, 512)
	storage := handler.StorageOptions{PlainFiles: true, Zarr2: true, ArrayOptions: handler.ArrayOptions{ChunkByteSize: 2048}}
	must(t, orbax.Save(t.Context(), path, map[string]any{"w": w.WithSharding(grid(8, 1, []string{"x"}))}, orbax.Storage(storage)))
	must(t, os.Remove(filepath.Join(path, "state", "w", "3.0")))
	target := map[string]any{"w": abstract(grid(8, 1, []string{"x"}), 8, 512)}
	clear(w.Bytes()[3*2048:][:2048])
	for rank, group := range coord.InProcess(4) {
		together := multihost.Together{Group: group}
		if _, err := orbax.LoadAbstract(t.Context(), path, target, together); !errors.Is(err, orbax.ErrCorrupt) || !strings.Contains(err.Error(), "leaf w: ") {
			t.Errorf("process %d got %v", rank, err)
		}
		v, err := orbax.LoadAbstract(t.Context(), path, target, together, orbax.FillMissing())
		must(t, err)
		check(t, v.(map[string]any)["w"], w, 2)
	}
}

// The memory that a load asks for is that of the shards, however large the array is.
func TestMemoryOfShards(t *testing.T) {
	in := orbax.In(mem.New())
	must(t, orbax.Save(t.Context(), "a", map[string]any{"w": count(8)}, in))
	groups := coord.InProcess(2)
	owner := func(device int) int {
		if device == 0 {
			return 1
		}
		return 0
	}
	target := map[string]any{"w": abstract(grid(1<<14, 1, []string{"x"}), 1<<38)} // 1 TiB
	v, err := orbax.LoadAbstract(t.Context(), "a", target, in, orbax.PadOrTruncate(), multihost.Together{Group: groups[1], Owner: owner})
	must(t, err)
	if s := v.(map[string]any)["w"].(*array.Sharded).Shards(); len(s) != 1 || s[0].Array.Len() != 1<<24 || string(s[0].Array.Bytes()[:32]) != string(count(8).Bytes()) {
		t.Errorf("got %v", s)
	}
	_, err = orbax.LoadAbstract(t.Context(), "a", target, in, orbax.PadOrTruncate(), multihost.Together{Group: groups[0], Owner: owner})
	if !errors.Is(err, orbax.ErrNoMemory) || !strings.Contains(err.Error(), "leaf w: ") {
		t.Errorf("a terabyte: %v", err)
	}
}
