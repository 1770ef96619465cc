package multihost_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/heap"
	"github.com/go-orbax/orbax/internal/race"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/storage/mem"
	"github.com/go-orbax/orbax/training"
	"github.com/go-orbax/orbax/transform"
	"github.com/go-orbax/orbax/tree"
)

// grid is a sharding over a mesh of axes x and y.
func grid(x, y int, spec ...[]string) *sharding.Sharding {
	return sharding.Named(sharding.Mesh{AxisNames: []string{"x", "y"}, Shape: []int{x, y}}, spec)
}

// abstract describes a float32 array.
func abstract(on *sharding.Sharding, shape ...int) array.ShapeDtypeStruct {
	return array.ShapeDtypeStruct{DType: array.Float32, Shape: shape, Sharding: on}
}

// loadAll loads target as each process of a group of n does, one after the other, and
// returns the results and the stats.
func loadAll(t *testing.T, n int, path string, target any, options ...orbax.LoadOption) (all []any, stats []orbax.Stats) {
	t.Helper()
	for _, group := range coord.InProcess(n) {
		var s orbax.Stats
		report := orbax.Report(&s)
		v, err := orbax.LoadAbstract(t.Context(), path, target, slices.Concat(options, []orbax.LoadOption{report, multihost.Together{Group: group}})...)
		if err != nil {
			t.Fatal(err)
		}
		all, stats = append(all, v), append(stats, s)
	}
	return all, stats
}

// check checks the shards of a.
func check(t *testing.T, a any, whole *array.Array, shards int) {
	t.Helper()
	s, ok := a.(*array.Sharded)
	if !ok || len(s.Shards()) != shards {
		t.Fatalf("got %v, want %d shards", a, shards)
	}
	checkShards(t, "the array", s, whole, s)
}

// Leaves with a sharding come in shards, others whole. A target of Metadata has the
// stored shardings. Select, Partial, placeholders and transformations work as without
// shards.
func TestWhatBecomesShards(t *testing.T) {
	ctx, in := t.Context(), orbax.In(mem.New())
	w := count(8, 6)
	state := map[string]any{
		"w": w.WithSharding(grid(4, 1, []string{"x"})), "host": array.Of([]float32{1, 2}), "n": 3, "s": "text", "none": nil,
	}
	must(t, orbax.Save(ctx, "a", state, in))
	meta, err := orbax.Metadata(ctx, "a", in)
	must(t, err)
	all, _ := loadAll(t, 2, "a", meta, in)
	for _, v := range all {
		got := v.(map[string]any)
		check(t, got["w"], w, 2)
		if host, ok := got["host"].(*array.Array); !ok || !host.Equal(array.Of([]float32{1, 2})) || got["n"] != 3 || got["s"] != "text" || got["none"] != nil {
			t.Errorf("got %v", got)
		}
	}
	if got, err := orbax.Load(ctx, "a", in, multihost.Together{Group: coord.InProcess(2)[1]}); err != nil || !got.(map[string]any)["w"].(*array.Array).Equal(w) {
		t.Errorf("Load gave %v, %v", got, err)
	}
	// Without a group this process is the only one.
	got, err := orbax.LoadAbstract(ctx, "a", meta, in, multihost.Together{})
	must(t, err)
	check(t, got.(map[string]any)["w"], w, 4)
	if got, err = orbax.LoadAbstract(ctx, "a", meta, in); err != nil || !got.(map[string]any)["w"].(*array.Array).Equal(w) {
		t.Errorf("without Together: %v, %v", got, err)
	}

	on := grid(1, 4, nil, []string{"y"}) // 6 columns: 2, 2, 2 and none
	all, _ = loadAll(t, 4, "a", map[string]any{"w": abstract(on, 8, 6), "n": tree.Placeholder}, in, orbax.Partial())
	for rank, v := range all {
		check(t, v.(map[string]any)["w"], w, []int{1, 1, 1, 0}[rank])
	}
	all, _ = loadAll(t, 2, "a", map[string]any{"w": abstract(on, 8, 6)}, in, orbax.Select("w"))
	check(t, all[1].(map[string]any)["w"], w, 1)
	half := array.Of(make([]float32, 24), 4, 6)
	must(t, w.ReadRegion(ctx, half.Bytes(), []int{0, 0}, []int{4, 6}))
	rules := orbax.Transform(transform.Set("half", transform.Leaf("w").Slice(0, 0, 4, 1)), transform.Drop("w"))
	all, _ = loadAll(t, 2, "a", map[string]any{"half": abstract(grid(2, 1, []string{"x"}), 4, 6)}, in, rules, orbax.Partial())
	check(t, all[1].(map[string]any)["half"], half, 1)

	// The target of LoadInto may have abstract leaves too.
	into := map[string]any{"w": abstract(on, 8, 6)}
	must(t, orbax.LoadInto(ctx, "a", into, in, orbax.Partial(), multihost.Together{Group: coord.InProcess(2)[0]}))
	check(t, into["w"], w, 2)
	items, err := orbax.LoadCheckpointables(ctx, "a", map[string]any{"state": handler.Abstract{Tree: map[string]any{"w": abstract(on, 8, 6)}}}, in, orbax.Partial(), multihost.Together{Group: coord.InProcess(2)[0]})
	must(t, err)
	check(t, items["state"].(map[string]any)["w"], w, 2)
}

func TestRefusals(t *testing.T) {
	ctx, in := t.Context(), orbax.In(mem.New())
	must(t, orbax.Save(ctx, "a", map[string]any{"w": count(8, 6).WithSharding(grid(3, 1))}, in))
	two := multihost.Together{Group: coord.InProcess(2)[0]}
	meta, err := orbax.Metadata(ctx, "a", in)
	must(t, err)
	if _, err := orbax.LoadAbstract(ctx, "a", meta, in, two); !errors.Is(err, orbax.ErrStructure) || !strings.Contains(err.Error(), "leaf w: ") || !strings.Contains(err.Error(), "set the Owner") {
		t.Errorf("three devices for two processes: %v", err)
	}
	var nothing struct {
		W *array.Sharded `orbax:"w"`
	}
	if err := orbax.LoadInto(ctx, "a", &nothing, in, two); !errors.Is(err, orbax.ErrLeafType) || !strings.Contains(err.Error(), "leaf w: ") {
		t.Errorf("a nil target: %v", err)
	}
	if _, err := orbax.Metadata(ctx, "a", in, two); !errors.Is(err, orbax.ErrUsage) {
		t.Errorf("Metadata: %v", err)
	}
	key, err := array.PRNGKey("threefry2x32", array.Of([]uint32{1, 2}))
	must(t, err)
	must(t, orbax.Save(ctx, "key", map[string]any{"k": key}, in))
	what := array.ShapeDtypeStruct{DType: array.Uint32, Shape: []int{2}, Sharding: grid(2, 1, []string{"x"})}
	plain, err := array.AllocSharded(what, sharding.Process{Size: 1})
	must(t, err)
	if err := orbax.LoadInto(ctx, "key", map[string]any{"k": plain}, in); !errors.Is(err, orbax.ErrDType) || !strings.Contains(err.Error(), "leaf k: ") {
		t.Errorf("keys into numbers: %v", err)
	}
	what.Shape = []int{3}
	if _, err := orbax.LoadAbstract(ctx, "key", map[string]any{"k": what}, in, two, orbax.PadOrTruncate()); !errors.Is(err, orbax.ErrDType) {
		t.Errorf("keys padded: %v", err)
	}
}

// If the stored chunks are those of the shards, a process reads its shards and little
// else. Otherwise it reads whole chunks, each once.
func TestProcessesReadTheirShards(t *testing.T) {
	ctx, in := t.Context(), orbax.In(mem.New())
	w := count(64, 64, 512) // 8 MiB
	must(t, orbax.Save(ctx, "a", map[string]any{"w": w.WithSharding(grid(4, 2, []string{"x"}, []string{"y"}))}, in))
	for _, c := range []struct {
		processes int
		on        *sharding.Sharding
	}{
		{8, grid(4, 2, []string{"x"}, []string{"y"})},
		{4, grid(4, 2, []string{"x"}, []string{"y"})},
		{3, grid(3, 1)},
		{2, grid(2, 2, []string{"x"}, []string{"y"})},
		{4, grid(2, 2, []string{"x"}, []string{"y"})},
		{2, grid(1, 2, nil, []string{"y"})},
		{2, grid(4, 1, []string{"x"})},
	} {
		all, stats := loadAll(t, c.processes, "a", map[string]any{"w": abstract(c.on, w.Shape()...)}, in)
		for rank, s := range stats {
			check(t, all[rank].(map[string]any)["w"], w, len(all[rank].(map[string]any)["w"].(*array.Sharded).Shards()))
			if ratio := float64(s.Moved) / float64(s.Bytes); ratio > 1.05 || s.Bytes == 0 {
				t.Errorf("%v: process %d of %d read %d bytes for shards of %d bytes", c.on, rank, c.processes, s.Moved, s.Bytes)
			}
		}
	}

	random := rand.New(rand.NewPCG(1, 2))
	draw := func() *sharding.Sharding {
		specs := [][][]string{{{"x"}}, {{"x"}, {"y"}}, {{"y"}, {"x"}}, {{"x", "y"}}, {nil, {"x", "y"}}, {nil, {"y"}, {"x"}}, {}}
		return grid(1<<random.IntN(3), 1<<random.IntN(3), specs[random.IntN(len(specs))]...)
	}
	for i := range 10 {
		from, to := draw(), draw()
		path := fmt.Sprint("pair", i)
		must(t, orbax.Save(ctx, path, map[string]any{"w": w.WithSharding(from)}, in, orbax.Storage(handler.StorageOptions{ArrayOptions: handler.ArrayOptions{ChunkByteSize: 1 << 20}})))
		processes := 1 << random.IntN(4)
		for processes > to.Mesh.Shape[0]*to.Mesh.Shape[1] {
			processes /= 2
		}
		meta, err := orbax.Metadata(ctx, path, in)
		must(t, err)
		chunk := meta.Tree.Leaves[0].ChunkShape
		all, stats := loadAll(t, processes, path, map[string]any{"w": abstract(to, w.Shape()...)}, in)
		var moved, wanted int64
		for rank, s := range stats {
			moved, wanted = moved+s.Moved, wanted+s.Bytes
			if most := bytesOfChunks(w.Shape(), chunk, all[rank].(map[string]any)["w"].(*array.Sharded)); s.Moved > most*101/100 {
				t.Errorf("process %d of %d read %d bytes, and the chunks that it needs have %d", rank, processes, s.Moved, most)
			}
		}
		t.Logf("saved %v in chunks %v, loaded %v by %d: %.2f bytes read for each that is wanted", from, chunk, to, processes, float64(moved)/float64(wanted))
	}
}

// bytesOfChunks returns the number of bytes of the chunks that overlap a shard.
func bytesOfChunks(shape, chunk []int, a *array.Sharded) (n int64) {
	for x := 0; x < shape[0]; x += chunk[0] {
		for y := 0; y < shape[1]; y += chunk[1] {
			for z := 0; z < shape[2]; z += chunk[2] {
				if slices.ContainsFunc(a.Shards(), func(s array.Shard) bool {
					o, d := s.Offset, s.Array.Shape()
					return x < o[0]+d[0] && o[0] < x+chunk[0] && y < o[1]+d[1] && o[1] < y+chunk[1] && z < o[2]+d[2] && o[2] < z+chunk[2]
				}) {
					n += int64(4 * chunk[0] * chunk[1] * chunk[2])
				}
			}
		}
	}
	return n
}

// A load of shards takes memory for the shards and nothing else.
func TestShardsTakeNoOtherMemory(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector takes memory too")
	}
	ctx, path := t.Context(), t.TempDir()+"/a"
	w := count(64, 1<<18) // 64 MiB
	must(t, orbax.Save(ctx, path, map[string]any{"w": w.WithSharding(grid(8, 1, []string{"x"}))}))
	group := coord.InProcess(8)[3]
	target := map[string]any{"w": abstract(grid(8, 1, []string{"x"}), w.Shape()...)}
	what := target["w"].(array.ShapeDtypeStruct)
	mine, err := array.AllocSharded(what, sharding.Process{Rank: 5, Size: 8})
	must(t, err)
	w = nil
	var got any
	for name, c := range map[string]struct {
		load  func() error
		bytes int64
	}{
		"LoadAbstract": {func() (err error) {
			got, err = orbax.LoadAbstract(ctx, path, target, multihost.Together{Group: group})
			return err
		}, 8 << 20},
		"LoadInto": {func() error { return orbax.LoadInto(ctx, path, map[string]any{"w": mine}) }, 0},
	} {
		must(t, c.load()) // makes buffers that stay
		got = nil
		if peak := heap.Peak(func() { err = c.load() }); err != nil || peak > c.bytes+2<<20 {
			t.Errorf("%s took %d bytes of memory for %d: %v", name, peak, c.bytes, err)
		}
	}
	_ = got
	if first := mine.Shards()[0].Array.Bytes(); !slices.Equal(first[:8], count(64, 1<<18).Bytes()[40<<20:][:8]) {
		t.Errorf("the shard begins with %x", first[:8])
	}
}

// A cancelled load of shards ends with the error of its context.
func TestCancel(t *testing.T) {
	in := orbax.In(mem.New())
	must(t, orbax.Save(t.Context(), "a", map[string]any{"w": count(8, 6)}, in))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := orbax.LoadAbstract(ctx, "a", map[string]any{"w": abstract(grid(2, 1, []string{"x"}), 8, 6)}, in, multihost.Together{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A mapped load reads the shards and maps other leaves.
func TestMapped(t *testing.T) {
	ctx, path := t.Context(), t.TempDir()+"/a"
	w := count(64, 1024)
	must(t, orbax.Save(ctx, path, map[string]any{"w": w, "host": w}))
	ck, err := orbax.Open(ctx, path)
	must(t, err)
	defer ck.Close()
	var s orbax.Stats
	target := map[string]any{"w": abstract(grid(4, 1, []string{"x"}), 64, 1024), "host": abstract(nil, 64, 1024)}
	v, err := ck.LoadAbstract(ctx, target, orbax.Mapped(), orbax.Report(&s), multihost.Together{Group: coord.InProcess(2)[1]})
	must(t, err)
	got := v.(map[string]any)
	check(t, got["w"], w, 2)
	if !got["host"].(*array.Array).Equal(w) {
		t.Error("the other leaf differs")
	}
	if want := int64(len(w.Bytes())); runtime.GOOS == "linux" && (s.Mapped != want || s.Bytes != want*3/2) {
		t.Errorf("%d of %d bytes were mapped, want %d of %d", s.Mapped, s.Bytes, want, want*3/2)
	}
}

// The options of a run may have Together, for its loads alone.
func TestRun(t *testing.T) {
	ctx := t.Context()
	together := multihost.Together{Group: coord.InProcess(2)[1]}
	c, err := training.New(ctx, t.TempDir()+"/run", training.Options{LoadOptions: []orbax.LoadCheckpointablesOption{together}})
	must(t, err)
	defer c.Close()
	w := count(8, 6)
	_, err = c.Save(ctx, 1, map[string]any{"w": w.WithSharding(grid(4, 1, []string{"x"}))})
	must(t, err)
	meta, err := c.Metadata(ctx, 1)
	must(t, err)
	v, err := c.LoadAbstract(ctx, training.LatestStep, meta.CheckpointMetadata)
	must(t, err)
	check(t, v.(map[string]any)["w"], w, 2)
}

// Small leaves between large ones do not make a process read what belongs to others.
func TestProcessesReadLittleElse(t *testing.T) {
	on := grid(4, 1, []string{"x"})
	state, target := map[string]any{}, map[string]any{}
	for i := range 10 {
		name := fmt.Sprint("big", i)
		state[name], target[name] = count(64, 1<<14).WithSharding(on), abstract(on, 64, 1<<14)
	}
	for i := range 90 {
		name, n := fmt.Sprint("small", i), 4096<<(i%5)
		state[name], target[name] = count(n).WithSharding(on), abstract(on, n)
	}
	for _, savers := range []int{1, 2, 4} {
		path := t.TempDir() + "/a"
		saveAll(t, savers, path, state)
		_, stats := loadAll(t, 4, path, target)
		for rank, s := range stats {
			ratio := float64(s.Moved) / float64(s.Bytes)
			t.Logf("saved by %d, process %d read %.3f bytes for each that it wants", savers, rank, ratio)
			if ratio > 1.05 {
				t.Error("that is too many")
			}
		}
	}
}
