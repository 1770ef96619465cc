package multihost_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/storage/mem"
	"github.com/go-orbax/orbax/transform"
	"github.com/go-orbax/orbax/zarr"
)

// handOver is the option of a process for loads that divide the reading.
func handOver(g *coord.Group) multihost.Together {
	return multihost.Together{Group: g, HandOver: true, Address: "127.0.0.1"}
}

// shared loads as all processes of a group at once, and fails if one of them does.
func sharedLoad(t tb, n int, load func(g *coord.Group, report orbax.LoadOption) error) (stats []orbax.Stats) {
	t.Helper()
	stats = make([]orbax.Stats, n)
	for rank, err := range together(n, func(g *coord.Group) error { return load(g, orbax.Report(&stats[g.Rank()])) }) {
		if err != nil {
			t.Fatalf("process %d: %v", rank, err)
		}
	}
	return stats
}

// moved returns the bytes of files that all processes have read.
func moved(stats []orbax.Stats) (n int64) {
	for _, s := range stats {
		n += s.Moved
	}
	return n
}

// wantNoGoroutines fails if more goroutines run than before.
func wantNoGoroutines(t tb, before int) {
	t.Helper()
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	buf := make([]byte, 1<<16)
	t.Fatalf("%d goroutines run, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
}

// Processes that divide the reading get what they get without that, bit for bit, whatever
// the meshes, the dtypes and the form of the checkpoint are.
func TestHandOverProperty(t *testing.T) {
	dir := t.TempDir()
	before := runtime.NumGoroutine()
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(2, 6).Draw(t, "processes")
		owners := rapid.SliceOfN(rapid.IntRange(0, size-1), 27, 27).Draw(t, "owners")
		owner := func(device int) int { return owners[device] }
		state, target := map[string]any{}, map[string]any{}
		resize := rapid.Bool().Draw(t, "pad or truncate")
		for i := range rapid.IntRange(1, 5).Draw(t, "leaves") {
			name := fmt.Sprint("a", i)
			a := drawWhole(t)
			state[name] = a
			want := array.ShapeDtypeStruct{DType: a.DType(), Shape: a.Shape()}
			if resize {
				for axis := range want.Shape {
					want.Shape[axis] = max(0, want.Shape[axis]+rapid.IntRange(-2, 3).Draw(t, "longer"))
				}
			}
			if rapid.Bool().Draw(t, "cast") {
				want.DType = array.Float64
				if a.DType() == array.Complex128 || a.DType() == array.Bool {
					want.DType = a.DType()
				}
			}
			if rapid.Bool().Draw(t, "sharded") {
				want.Sharding = drawLayout(t, len(want.Shape))
			}
			target[name] = want
		}
		storage := handler.StorageOptions{
			Zarr2:        rapid.Bool().Draw(t, "zarr2"),
			PlainFiles:   rapid.Bool().Draw(t, "plain files"),
			ArrayOptions: handler.ArrayOptions{Compression: rapid.SampledFrom([]zarr.Compression{{}, zarr.Zstd(1)}).Draw(t, "compression")},
		}
		if rapid.Bool().Draw(t, "small chunks") {
			storage.ChunkByteSize = 32
		}
		path := filepath.Join(dir, "ckpt")
		must(t, orbax.Save(t.Context(), path, state, orbax.Storage(storage), orbax.Overwrite()))
		options := []orbax.LoadOption{orbax.Cast(), orbax.PadOrTruncate()}
		if rapid.Bool().Draw(t, "transform") {
			options = append(options, orbax.Transform(transform.Set("copy", transform.Leaf("a0"))), orbax.Partial())
			if rapid.Bool().Draw(t, "want the copy") {
				target["copy"] = target["a0"]
			}
		}
		sharedLoad(t, size, func(g *coord.Group, _ orbax.LoadOption) error {
			with := handOver(g)
			with.Owner = owner
			got, err := orbax.LoadAbstract(t.Context(), path, target, append(options[:len(options):len(options)], with)...)
			if err != nil {
				return err
			}
			with.HandOver = false
			want, err := orbax.LoadAbstract(t.Context(), path, target, append(options[:len(options):len(options)], with)...)
			if err != nil {
				return err
			}
			return sameLeaves(got.(map[string]any), want.(map[string]any))
		})
	})
	wantNoGoroutines(t, before)
}

// sameLeaves returns an error if two loads of a process differ.
func sameLeaves(got, want map[string]any) error {
	if len(got) != len(want) {
		return fmt.Errorf("got %v, want %v", got, want)
	}
	for name, w := range want {
		switch w := w.(type) {
		case *array.Array:
			if a, ok := got[name].(*array.Array); !ok || !a.Equal(w) {
				return fmt.Errorf("%s is %v, want %v", name, got[name], w)
			}
		case *array.Sharded:
			a, ok := got[name].(*array.Sharded)
			if !ok || len(a.Shards()) != len(w.Shards()) {
				return fmt.Errorf("%s is %v, want %v", name, got[name], w)
			}
			for i, s := range w.Shards() {
				if !bytes.Equal(a.Shards()[i].Array.Bytes(), s.Array.Bytes()) {
					return fmt.Errorf("%s at %v is %x, want %x", name, s.Offset, a.Shards()[i].Array.Bytes(), s.Array.Bytes())
				}
			}
		default:
			if got[name] != w {
				return fmt.Errorf("%s is %v, want %v", name, got[name], w)
			}
		}
	}
	return nil
}

// The processes read one copy together, and each about as much as the others.
func TestHandOverReadsOneCopy(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	state, target := map[string]any{}, map[string]any{}
	add := func(name string, a *array.Array, on *sharding.Sharding) {
		state[name] = a
		target[name] = abstract(on, a.Shape()...)
	}
	for i, on := range []*sharding.Sharding{nil, nil, grid(2, 2, []string{"x"}), grid(2, 2), grid(2, 2, nil, []string{"y"})} {
		for k := range 10 {
			add(fmt.Sprint("layer", i, k), count(64, 1<<12-128*random.IntN(5)), on)
		}
	}
	for i := range 40 {
		add(fmt.Sprint("small", i), count(100+i), nil)
	}
	path := filepath.Join(t.TempDir(), "a")
	storage := handler.StorageOptions{ArrayOptions: handler.ArrayOptions{ChunkByteSize: 1 << 17}}
	for name, a := range state { // chunks divide the shards
		if on := target[name].(array.ShapeDtypeStruct).Sharding; on != nil {
			state[name] = a.(*array.Array).WithSharding(on)
		}
	}
	must(t, orbax.Save(t.Context(), path, state, orbax.Storage(storage)))
	readOneCopy(t, path, state, target)

	clear(state)
	clear(target)
	add("large", count(64, 3<<16), grid(2, 2, []string{"x"})) // 48 MiB
	add("larger", count(1, 1, 1, 100, 1<<16), nil)
	for i := range 40 {
		add(fmt.Sprint("small", i), count(1000+i), nil)
	}
	path += ".safetensors"
	arrays := map[string]*array.Array{}
	for name, a := range state {
		arrays[name] = a.(*array.Array)
	}
	orbaxtest.WriteTensors(t, path, arrays)
	readOneCopy(t, path, state, target)
}

// readOneCopy loads as four processes, and fails if they read much more than one copy, or
// not equally much.
func readOneCopy(t *testing.T, path string, state, target map[string]any) {
	t.Helper()
	const size = 4
	all := make([]map[string]any, size)
	stats := sharedLoad(t, size, func(g *coord.Group, report orbax.LoadOption) error {
		v, err := orbax.LoadAbstract(t.Context(), path, target, handOver(g), report)
		if err == nil {
			all[g.Rank()] = v.(map[string]any)
		}
		return err
	})
	var total, most int64
	for name, v := range state {
		a := v.(*array.Array)
		total += int64(len(a.Bytes()))
		for rank := range all {
			if s, ok := all[rank][name].(*array.Sharded); ok {
				checkShards(t, name, s, a, s)
			} else if !all[rank][name].(*array.Array).Equal(a) {
				t.Errorf("process %d: %s differs", rank, name)
			}
		}
	}
	for _, s := range stats {
		most = max(most, s.Moved)
	}
	t.Logf("%d bytes, %d read, at most %d by a process", total, moved(stats), most)
	if float64(moved(stats)) > 1.05*float64(total) || moved(stats) < total {
		t.Errorf("%d bytes were read for %d", moved(stats), total)
	}
	if float64(most) > 1.1*float64(total)/size {
		t.Errorf("a process has read %d of %d bytes", most, total)
	}
}

// All kinds of loads divide the reading.
func TestHandOverLoads(t *testing.T) {
	in := orbax.In(mem.New())
	w := count(64, 1<<12)
	state := map[string]any{"w": w, "n": 3, "s": "text", "b": []byte("abc")}
	must(t, orbax.SaveCheckpointables(t.Context(), "a", map[string]any{"one": state, "two": state, "three": map[string]any{"x": w}}, in))
	wantOne := func(name string, stats []orbax.Stats, copies int64) {
		t.Helper()
		if n := moved(stats); n > copies*int64(len(w.Bytes()))*105/100+4096 {
			t.Errorf("%s: %d bytes were read", name, n)
		}
	}
	wantOne("Load", sharedLoad(t, 3, func(g *coord.Group, report orbax.LoadOption) error {
		got, err := orbax.Load(t.Context(), "a", in, orbax.Name("two"), handOver(g), report)
		if err == nil && (!got.(map[string]any)["w"].(*array.Array).Equal(w) || got.(map[string]any)["n"] != 3) {
			err = fmt.Errorf("got %v", got)
		}
		return err
	}), 1)
	wantOne("LoadInto", sharedLoad(t, 3, func(g *coord.Group, report orbax.LoadOption) error {
		held := part(t, count(64, 1<<12), grid(3, 2), g)
		for _, s := range held.Shards() {
			clear(s.Array.Bytes())
		}
		target := map[string]any{"w": held, "n": 0, "s": "", "b": []byte(nil)}
		err := orbax.LoadInto(t.Context(), "a", target, in, orbax.Name("one"), handOver(g), report)
		if err == nil {
			checkShards(t, "w", held, w, held)
		}
		return err
	}), 1)
	wantOne("LoadCheckpointables", sharedLoad(t, 3, func(g *coord.Group, report orbax.LoadOption) error {
		got, err := orbax.LoadCheckpointables(t.Context(), "a", nil, in, handOver(g), report.(orbax.LoadCheckpointablesOption))
		if err == nil && (!got["three"].(map[string]any)["x"].(*array.Array).Equal(w) || !got["one"].(map[string]any)["w"].(*array.Array).Equal(w)) {
			err = fmt.Errorf("got %v", got)
		}
		return err
	}), 3)
	same := transform.Func(array.Float32, w.Shape(), func(_ context.Context, args []*array.Array) (*array.Array, error) { return args[0], nil }, transform.Leaf("w"))
	wantOne("a function", sharedLoad(t, 3, func(g *coord.Group, report orbax.LoadOption) error {
		rules := orbax.Transform(transform.Set("x", same), transform.Drop("w"))
		got, err := orbax.Load(t.Context(), "a", in, orbax.Name("one"), rules, handOver(g), report)
		if err == nil && !got.(map[string]any)["x"].(*array.Array).Equal(w) {
			err = fmt.Errorf("got %v", got)
		}
		return err
	}), 1)
	// On a handle, one process alone, and without a group.
	ck, err := orbax.Open(t.Context(), "a", in)
	must(t, err)
	defer ck.Close()
	for _, option := range []multihost.Together{{HandOver: true}, handOver(coord.InProcess(1)[0])} {
		if _, err := ck.Load(t.Context(), option, orbax.Name("one")); err != nil {
			t.Error(err)
		}
	}
	wantOne("the default address", sharedLoad(t, 2, func(g *coord.Group, report orbax.LoadOption) error {
		_, err := ck.Load(t.Context(), multihost.Together{Group: g, HandOver: true}, orbax.Name("one"), report)
		return err
	}), 1)
}
