package treesave

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/pytree"
	"github.com/go-orbax/orbax/internal/reuse"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/zarr"
)

// run is a run of saves, each in its own directory.
type run struct {
	t       testing.TB
	top     string
	steps   int
	reuse   ckdir.Reuse // Base is set to the last step
	options runOptions
	stage   func(storage.Stage) storage.Stage // wraps the stages of the saves
	// problems and meter belong to the last save.
	problems []error
	meter    *transfer.Meter
}

func newRun(t testing.TB) *run {
	return &run{t: t, top: t.TempDir(), stage: func(s storage.Stage) storage.Stage { return s }}
}

// step returns the directory of a pytree.
func (r *run) step(n int) string { return filepath.Join(r.top, fmt.Sprint(n), "item") }

// try saves the next step.
func (r *run) try(ctx context.Context, state any) error {
	r.problems, r.meter = nil, &transfer.Meter{}
	reuse := r.reuse
	reuse.Problem = func(err error) { r.problems = append(r.problems, err) }
	engine := &transfer.Engine{Meter: r.meter}
	defer engine.Release()
	leaves, err := tree.Flatten(state)
	if err != nil {
		return err
	}
	p, err := New(leaves, r.options.storage, sharding.Process{})
	if err != nil {
		return err
	}
	if r.options.snapshot {
		if err := p.Snapshot(ctx, engine, nil); err != nil {
			return err
		}
	}
	root := filepath.ToSlash(filepath.Join(r.top, fmt.Sprint(r.steps)))
	stage, err := storage.Local().Begin(ctx, root, storage.BeginOptions{})
	if err != nil {
		return err
	}
	var digests layout.Digests
	dir, err := ckdir.NewWriteDir(ctx, engine, r.stage(stage), "item", digests.Add)
	if err == nil {
		err = p.Write(ctx, dir, &ckdir.Settings{Reuse: func(string) *ckdir.Reuse { return &reuse }})
	}
	if err != nil {
		return errors.Join(err, stage.Abort())
	}
	if err := stage.Commit(ctx); err != nil {
		return err
	}
	r.base(root, "item", &digests)
	r.steps++
	return nil
}

// runOptions say how a run saves.
type runOptions struct {
	snapshot bool
	storage  Storage
}

// base makes an item of the checkpoint at root the base of the next save.
func (r *run) base(root, name string, digests ckdir.Digests) {
	r.reuse.Base = ckdir.NewReadDir(ckdir.Place{Root: storage.At(storage.Local(), root), Name: name, Digests: digests})
}

// digested sets the digests of the last step.
func (r *run) digested(digests ckdir.Digests) {
	r.base(filepath.ToSlash(filepath.Dir(r.step(r.steps-1))), "item", digests)
}

// save saves the next step. It returns the number of its data files that the step before
// has too.
func (r *run) save(state any) int {
	r.t.Helper()
	if err := r.try(r.t.Context(), state); err != nil {
		r.t.Fatal(err)
	}
	r.check(r.reuse.Base, state)
	return r.linked()
}

// linked returns the number of data files that the last two steps have in common.
func (r *run) linked() (n int) {
	files, _ := filepath.Glob(filepath.Join(r.step(r.steps-1), "d", "*"))
	for _, name := range files {
		a, aerr := os.Stat(name)
		b, berr := os.Stat(filepath.Join(r.step(r.steps-2), "d", filepath.Base(name)))
		if aerr == nil && berr == nil && os.SameFile(a, b) {
			n++
		}
	}
	return n
}

// check loads a step and verifies it.
func (r *run) check(dir *ckdir.ReadDir, state any) {
	r.t.Helper()
	for _, err := range pytree.Verify(r.t.Context(), dir, pytree.Options{}) {
		r.t.Error(err)
	}
	opened, err := pytree.Open(r.t.Context(), dir, pytree.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	got, err := opened.Load(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for name, want := range state.(map[string]any) {
		if r, ok := want.(reader); ok {
			want = r.of
		}
		a, ok := want.(*array.Array)
		if !ok {
			continue
		}
		if to := r.options.storage.Arrays.DType; to.SameClass(a.DType()) {
			converted, err := array.New(to, a.Shape(), nil)
			if err == nil {
				err = array.Convert(converted.Bytes(), to, a.Bytes(), a.DType())
			}
			if err != nil {
				r.t.Fatal(err)
			}
			a = converted
		}
		if b := got.(map[string]any)[name].(*array.Array); b.DType() != a.DType() || !bytes.Equal(a.Bytes(), b.Bytes()) {
			r.t.Errorf("step %d: %s differs", r.steps-1, name)
		}
	}
}

// noise returns an array that compresses a little.
func noise(seed byte, shape ...int) *array.Array {
	n := 1
	for _, d := range shape {
		n *= d
	}
	data := make([]float32, n)
	rng := rand.New(rand.NewPCG(uint64(seed), 1))
	for i := range data {
		data[i] = float32(rng.IntN(1000))
	}
	return array.Of(data, shape...)
}

// In any run of saves, any of which may be removed, each remaining save has the state
// that was saved, and no file is older or has more dead bytes than allowed.
func TestReuseRuns(t *testing.T) {
	// Each check saves several times to a real disk. The flag belongs to the process, so
	// the test is not parallel.
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		t.Cleanup(func() { flag.Set(f.Name, f.DefValue) })
		flag.Set(f.Name, "20")
	}
	rapid.Check(t, func(rt *rapid.T) {
		r := newRun(t)
		r.reuse.FreshEvery = rapid.IntRange(2, 5).Draw(rt, "fresh")
		r.reuse.MaxDead = rapid.SampledFrom([]float64{0.1, 0.5, 1}).Draw(rt, "dead")
		r.options.storage.Arrays.ChunkByteSize = 4096
		r.options.snapshot = rapid.Bool().Draw(rt, "snapshot")
		r.options.storage.PerLeaf = func(leaf string, _ array.ShapeDtypeStruct, o ArrayOptions) ArrayOptions {
			if leaf == "a1" {
				o.Compression = zarr.Zstd(1)
			}
			return o
		}
		state := map[string]any{}
		type saved struct {
			dir   *ckdir.ReadDir
			state map[string]any
		}
		left := map[int]saved{}
		for step := range rapid.IntRange(2, 6).Draw(rt, "steps") {
			for range rapid.IntRange(0, 3).Draw(rt, "changes") {
				name := rapid.SampledFrom([]string{"a0", "a1", "a2", "a3"}).Draw(rt, "array")
				state[name] = noise(rapid.ByteRange(0, 5).Draw(rt, "content"), 1024*rapid.IntRange(1, 4).Draw(rt, "chunks"))
			}
			state["step"] = step
			if err := r.try(t.Context(), state); err != nil {
				rt.Fatal(err)
			}
			left[step] = saved{r.reuse.Base, maps.Clone(state)}
			rec, err := reuse.Read(rt.Context(), r.reuse.Base)
			if err != nil {
				rt.Fatal(err)
			}
			for _, f := range rec.Files {
				info, err := os.Stat(filepath.Join(r.step(step), f.Name))
				if err != nil {
					rt.Fatal(err)
				}
				live := int64(0)
				for _, c := range f.Chunks {
					live += c.Length
				}
				dead := float64(info.Size() - live - storage.PageSize)
				if f.Age >= r.reuse.FreshEvery || f.Age > 0 && dead > r.reuse.MaxDead*float64(info.Size()) {
					rt.Errorf("a file of age %d and %d bytes has %v dead ones", f.Age, info.Size(), dead)
				}
			}
			if len(left) > 1 && rapid.Bool().Draw(rt, "remove") {
				gone := rapid.SampledFrom(slices.Sorted(maps.Keys(left))).Draw(rt, "gone")
				if gone < step {
					delete(left, gone)
					os.RemoveAll(filepath.Dir(r.step(gone)))
				}
			}
		}
		for _, s := range left {
			r.check(s.dir, s.state)
		}
	})
}
