package treesave

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/zarr"
)

var shareOptions = map[string]runOptions{
	"plain":    {},
	"snapshot": {snapshot: true},
	"zarr2":    {storage: Storage{Zarr2: true}},
	"zstd":     {storage: Storage{Arrays: ArrayOptions{Compression: zarr.Zstd(1)}}},
	"huffman":  {storage: Storage{Arrays: ArrayOptions{Compression: zarr.Huffman()}}},
	"auto":     {storage: Storage{Arrays: ArrayOptions{Compression: zarr.Auto()}}},
	"bfloat16": {storage: Storage{Arrays: ArrayOptions{DType: array.BFloat16}}},
	"chunks":   {storage: Storage{Arrays: ArrayOptions{ChunkByteSize: 20000}}},
}

// reader is an array that is not known to be in memory.
type reader struct{ of *array.Array }

func (r reader) DType() array.DType { return r.of.DType() }
func (r reader) Shape() []int       { return r.of.Shape() }
func (r reader) ReadRegion(ctx context.Context, dst []byte, off, size []int) error {
	return r.of.ReadRegion(ctx, dst, off, size)
}

// Whatever the form of the chunks, unchanged chunks are in the files of the step before,
// and every step is complete without the others.
func TestReuse(t *testing.T) {
	t.Parallel()
	for name, options := range shareOptions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t)
			r.options = options
			tied := noise(1, 100, 100)
			sharded := noise(2, 64, 48).WithSharding(sharding.SingleDevice("cpu:0"))
			state := map[string]any{
				"w": noise(3, 300, 300), "large": noise(4, 1<<19), "tied": tied, "tied2": tied, "sharded": sharded,
				"columns": noise(5, 50, 400), "small": noise(6, 20), "medium": noise(7, 500), "empty": noise(8, 0, 3), "none": noise(8, 0, 3000),
				"read": reader{noise(10, 1000)},
				"step": 1, "name": "x",
			}
			if n := r.save(state); n != 0 {
				t.Fatalf("the first save shares %d files", n)
			}
			first := maps.Clone(state)
			all := r.meter.Moved.Load()
			state["step"], state["columns"] = 2, noise(9, 50, 400)
			if n := r.save(state); n != 1 {
				t.Fatalf("shares %d files, not 1", n)
			}
			if moved := r.meter.Moved.Load(); moved > all/10 {
				t.Errorf("moved %d bytes, of %d at first", moved, all)
			}
			if shared, bytes := r.meter.Shared.Load(), r.meter.Bytes.Load(); bytes-shared > 50*400*4+1000*4+500*4+20*4+8 { // some values lie in the index
				t.Errorf("%d of %d bytes are shared", shared, bytes)
			}
			second := r.reuse.Base
			r.check(ckdir.NewReadDir(ckdir.Place{Root: storage.At(storage.Local(), filepath.ToSlash(filepath.Dir(r.step(0)))), Name: "item"}), first)
			state["step"] = 3
			if n := r.save(state); n != 2 {
				t.Errorf("shares %d files, not 2", n)
			}
			if err := os.RemoveAll(filepath.Dir(r.step(0))); err != nil {
				t.Fatal(err)
			}
			r.check(second, map[string]any{"w": state["w"], "columns": state["columns"]})
			if err := os.RemoveAll(filepath.Dir(r.step(1))); err != nil {
				t.Fatal(err)
			}
			r.check(r.reuse.Base, state)
			if len(r.problems) > 0 {
				t.Error(r.problems)
			}
		})
	}
}

// The chunks at the edge of an array are padded.
func TestReuseEdge(t *testing.T) {
	t.Parallel()
	r := newRun(t)
	data := bytes.Repeat([]byte("0123456789abcdef "), 1<<20)
	state := map[string]any{"w": array.Of(data[:17<<20-7], 17<<20-7)}
	r.save(state)
	data[len(data)-9] ^= 1
	if n := r.save(state); n != 1 {
		t.Errorf("shares %d files", n)
	}
	if moved := r.meter.Moved.Load(); moved < 4<<20 || moved > 12<<20 {
		t.Errorf("moved %d bytes for one chunk", moved)
	}
}

// A save shares nothing with chunks of another form, even if the bytes are equal.
func TestReuseOtherForm(t *testing.T) {
	t.Parallel()
	forms := slices.Sorted(maps.Keys(shareOptions))
	for i, from := range forms {
		for _, to := range []string{forms[(i+1)%len(forms)], forms[(i+3)%len(forms)]} {
			r := newRun(t)
			state := map[string]any{"w": noise(1, 50, 100)}
			r.options = shareOptions[from]
			r.save(state)
			r.options = shareOptions[to]
			same := array.Of(slices.Clone(state["w"].(*array.Array).Bytes()), 20000)
			r.save(map[string]any{"w": state["w"], "bytes": same})
			state["v"] = state["w"]
			r.save(state)
		}
	}
}

// Equal chunks are stored once and stay shared. Arrays of zeros are common.
func TestReuseEqualChunks(t *testing.T) {
	t.Parallel()
	r := newRun(t)
	state := map[string]any{}
	for i := range 20 {
		state[fmt.Sprint("zeros", i)] = array.Of(make([]float32, 1<<14), 1<<14)
	}
	r.save(state)
	if moved := r.meter.Moved.Load(); moved > 3<<16 {
		t.Errorf("moved %d bytes", moved)
	}
	if n := r.save(state); n != 1 {
		t.Errorf("shares %d files", n)
	}
}

// At most FreshEvery saves share a file, and only while enough of it is wanted.
func TestReuseLimits(t *testing.T) {
	t.Parallel()
	r := newRun(t)
	r.reuse.FreshEvery = 3
	state := map[string]any{"w": noise(1, 100, 100)}
	for i, want := range []int{0, 1, 1, 0, 1, 1, 0} {
		if n := r.save(state); n != want {
			t.Errorf("save %d shares %d files, not %d", i, n, want)
		}
	}
	r = newRun(t)
	r.reuse.MaxDead = 0.25
	state = map[string]any{}
	for i := range 8 {
		state[fmt.Sprint(i)] = noise(byte(i), 1<<15)
	}
	r.save(state)
	for i, want := range []int{1, 2, 0} { // 1 of 8 arrays is dead, then 2, then more
		state[fmt.Sprint(i)] = noise(byte(100+i), 1<<15)
		if i == 2 {
			state["1"], state["0"] = noise(110, 1<<15), noise(111, 1<<15)
		}
		if n := r.save(state); n != want {
			t.Errorf("with %d arrays changed: shares %d files, not %d", i+1, n, want)
		}
	}
	// The chunks of readers lie in another file. Here they would make half of the bytes
	// dead.
	r = newRun(t)
	r.reuse.MaxDead = 0.1
	read := map[string]any{"w": noise(1, 1<<15), "read": reader{noise(2, 1<<15)}}
	r.save(read)
	if n := r.save(read); n != 1 {
		t.Errorf("beside the chunks of a reader: shares %d files", n)
	}
	for _, off := range []func(*run){
		func(r *run) { r.reuse.FreshEvery = 1 },
		func(r *run) { r.options.storage.PlainFiles = true },
	} {
		r := newRun(t)
		off(r)
		r.save(state)
		if n := r.save(state); n != 0 || len(r.problems) > 0 {
			t.Errorf("shares %d files, %v", n, r.problems)
		}
		if _, err := os.Stat(filepath.Join(r.step(0), layout.ChunksFile)); !os.IsNotExist(err) {
			t.Errorf("a record: %v", err)
		}
	}
}

// stage is a stage whose behaviour a test changes.
type stage struct {
	storage.Stage
	share  func(ctx context.Context, from, name string) error
	create func(name string)
}

func (s stage) Link(ctx context.Context, from, name string, o storage.LinkOptions) error {
	if o.Share && s.share != nil {
		return s.share(ctx, from, name)
	}
	return s.Stage.Link(ctx, from, name, o)
}

// unshared is a stage of a store that cannot share files.
type unshared struct{ storage.Stage }

func (s unshared) Properties() storage.Properties { return storage.Properties{} }

func (s stage) Create(ctx context.Context, name string, size int64) (storage.Writer, error) {
	if s.create != nil {
		s.create(name)
	}
	return s.Stage.Create(ctx, name, size)
}

// A save reports why it shares nothing, and writes everything.
func TestReuseProblems(t *testing.T) {
	t.Parallel()
	state := map[string]any{"w": noise(1, 100, 100), "v": noise(2, 100)}
	flip := func(name string) func(*run) {
		return func(r *run) {
			doc, err := os.ReadFile(name)
			if err != nil {
				r.t.Fatal(err)
			}
			doc[len(doc)/2] ^= 1
			if err := os.WriteFile(name, doc, 0o666); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	for name, tc := range map[string]struct {
		spoil   func(r *run)
		problem string // "" means that nothing has failed
	}{
		"no links": {func(r *run) {
			r.stage = func(s storage.Stage) storage.Stage {
				return stage{Stage: s, share: func(context.Context, string, string) error { return errors.ErrUnsupported }}
			}
		}, "cannot be shared"},
		"no sharer": {func(r *run) {
			r.stage = func(s storage.Stage) storage.Stage { return unshared{s} }
		}, "the store cannot share"},
		"no base": {func(r *run) { os.RemoveAll(filepath.Dir(r.step(0))) }, "missing file"},
		"foreign base": {func(r *run) {
			os.RemoveAll(filepath.Dir(r.step(0)))
			r.base(filepath.ToSlash(r.top), "none", nil)
		}, ""},
		"damaged record": {func(r *run) { flip(filepath.Join(r.step(0), layout.ChunksFile))(r) }, "corrupt"},
		"damaged record without digest": {func(r *run) {
			flip(filepath.Join(r.step(0), layout.ChunksFile))(r)
			r.digested(nil)
		}, "its own checksum"},
		"later version": {func(r *run) {
			os.WriteFile(filepath.Join(r.step(0), layout.ChunksFile), []byte("go-orbax chunks 3\n"), 0o666)
			r.digested(nil)
		}, "unsupported"},
		"no data": {func(r *run) { os.RemoveAll(filepath.Join(r.step(0), "d")) }, "no such file"},
		"short data": {func(r *run) {
			files, _ := filepath.Glob(filepath.Join(r.step(0), "d", "*"))
			for _, f := range files {
				os.Truncate(f, 100)
			}
		}, "its chunks end at"},
		"record without digest": {func(r *run) { r.digested(nil) }, "do not cover"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t)
			r.save(state)
			tc.spoil(r)
			if n := r.save(state); n != 0 {
				t.Errorf("shares %d files", n)
			}
			text := fmt.Sprint(r.problems)
			if tc.problem == "" && r.problems != nil || !strings.Contains(text, tc.problem) {
				t.Errorf("problems: %v", r.problems)
			}
			r.stage = func(s storage.Stage) storage.Stage { return s }
			want := 1
			if name == "no sharer" {
				want = 0 // the save had no use for a record
			}
			if n := r.save(state); n != want {
				t.Errorf("the next save shares %d files", n)
			}
		})
	}
}

// If an array changes while it is saved, the save fails, because the next save could
// share the bytes that were written. A copy does not change.
func TestReuseChanged(t *testing.T) {
	t.Parallel()
	for _, snapshot := range []bool{false, true} {
		for _, w := range []*array.Array{noise(1, 1<<19), noise(1, 50, 400), noise(1, 3000, 10)} {
			r := newRun(t)
			r.options.snapshot = snapshot
			r.options.storage.Arrays.ChunkByteSize = 1 << 21
			if w.Shape()[0] == 50 { // its chunks are not runs of memory
				r.options.storage.Arrays.ChunkByteSize = 20000
			}
			var change atomic.Bool
			r.stage = func(s storage.Stage) storage.Stage {
				return stage{Stage: s, create: func(name string) {
					if strings.Contains(name, "/"+layout.DataDir+"/") && change.CompareAndSwap(true, false) {
						w.Bytes()[5] ^= 1
					}
				}}
			}
			r.save(map[string]any{"other": noise(3, 10)})
			change.Store(true)
			before := slices.Clone(w.Bytes())
			err := r.try(t.Context(), map[string]any{"w": w})
			if snapshot {
				if err != nil {
					t.Error(err)
				}
				saved, _ := array.New(w.DType(), w.Shape(), before)
				r.check(r.reuse.Base, map[string]any{"w": saved})
				continue
			}
			var leaf *fault.Leaf
			if !errors.Is(err, errChanged) || !errors.As(err, &leaf) || leaf.Path != "w" {
				t.Errorf("an array that changes: %v", err)
			}
			if _, err := os.Stat(r.step(1)); !os.IsNotExist(err) {
				t.Errorf("left: %v", err)
			}
		}
	}
}

func TestReuseCancelled(t *testing.T) {
	t.Parallel()
	r := newRun(t)
	state := map[string]any{"w": noise(1, 100, 100)}
	r.save(state)
	ctx, cancel := context.WithCancel(t.Context())
	r.stage = func(s storage.Stage) storage.Stage {
		return stage{Stage: s, share: func(context.Context, string, string) error {
			cancel()
			return errors.New("the end")
		}}
	}
	if err := r.try(ctx, state); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
