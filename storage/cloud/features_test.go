package cloud_test

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/partial"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/training"
)

// onEach runs a test on a new bucket of each cloud.
func onEach(t *testing.T, test func(t *testing.T, b object.Bucket, store *object.Store)) {
	for _, c := range clouds {
		t.Run(c.name, func(t *testing.T) {
			addr := c.start(t)
			b := c.open(t, addr, c.newBucket(t, addr))
			test(t, b, object.New(b, shortLease))
		})
	}
}

// wantKeys fails the test unless the bucket has checkpoints at these paths and nothing else.
func wantKeys(t *testing.T, b object.Bucket, paths ...string) {
	t.Helper()
	page, err := b.List(t.Context(), object.ListOptions{Flat: true})
	must(t, err)
	for _, o := range page.Objects {
		if !slices.ContainsFunc(paths, func(p string) bool { return len(o.Key) > len(p) && o.Key[:len(p)+1] == p+"/" }) {
			t.Errorf("%s is left", o.Key)
		}
	}
	for _, p := range paths {
		if _, err := b.Stat(t.Context(), path.Join(p, object.Marker)); err != nil {
			t.Errorf("the mark of %s: %v", p, err)
		}
	}
}

// A run keeps the steps that it wants, and goes on in another process.
func TestRun(t *testing.T) {
	onEach(t, func(t *testing.T, b object.Bucket, store *object.Store) {
		ctx := t.Context()
		o := training.Options{Store: store, Preservation: training.LatestN{N: 2}}
		for i := range 2 {
			c, err := training.New(ctx, "run", o)
			must(t, err)
			var state map[string]any
			at, err := c.Resume(ctx, &state)
			if errors.Is(err, orbax.ErrNotExist) {
				at, err = -1, nil
			}
			must(t, err)
			if want := []int{-1, 3}[i]; at != want {
				t.Errorf("resumed at %d, want %d", at, want)
			}
			for step := at + 1; step < at+5; step++ {
				saved, err := c.SaveAsync(ctx, step, stateOf(step))
				must(t, err)
				if ok, err := saved.Result(ctx); err != nil || !ok {
					t.Fatal(ok, err)
				}
			}
			must(t, c.Close())
		}
		latest, err := training.Latest(ctx, "run", training.ReadOptions{Store: store})
		if err != nil || latest.Step != 7 {
			t.Errorf("the newest step is %v, %v", latest, err)
		}
		v, err := orbax.Load(ctx, "run/7", orbax.In(store))
		must(t, err)
		if seed, err := seedOf(v); seed != 7 || err != nil {
			t.Error(seed, err)
		}
		page, err := b.List(ctx, object.ListOptions{Prefix: "run/"})
		must(t, err)
		if fmt.Sprint(page.Prefixes) != "[run/6/ run/7/]" && !slices.Contains(page.Prefixes, "run/metadata/") {
			t.Errorf("the run has %q", page.Prefixes)
		}
	})
}

// A session of partial saves becomes one checkpoint.
func TestSession(t *testing.T) {
	onEach(t, func(t *testing.T, b object.Bucket, store *object.Store) {
		ctx, in := t.Context(), orbax.In(store)
		for i := range 3 {
			must(t, partial.Save(ctx, "model", map[string]any{fmt.Sprint("layer", i): stateOf(i)}, in))
		}
		must(t, partial.Finalize(ctx, "model", in))
		v, err := orbax.Load(ctx, "model", in)
		must(t, err)
		for i := range 3 {
			if seed, err := seedOf(v.(map[string]any)[fmt.Sprint("layer", i)]); seed != i || err != nil {
				t.Error(seed, err)
			}
		}
		wantKeys(t, b, "model")
		must(t, orbax.Delete(ctx, "model", in))
		wantKeys(t, b)
	})
}

// Several processes save one checkpoint, over another one too.
func TestTogether(t *testing.T) {
	onEach(t, func(t *testing.T, b object.Bucket, store *object.Store) {
		ctx, in := t.Context(), orbax.In(store)
		const size = 4
		rows := sharding.Named(sharding.Mesh{AxisNames: []string{"x"}, Shape: []int{size}}, [][]string{{"x"}})
		for round := range 2 {
			want := stateOf(5)["large"].(*array.Array)
			var group sync.WaitGroup
			for rank, g := range coord.InProcess(size) {
				group.Go(func() {
					defer g.Close()
					together := multihost.Together{Group: g}
					mine, err := array.AllocSharded(array.ShapeDtypeStruct{Shape: want.Shape(), DType: want.DType(), Sharding: rows}, together.Process())
					if err != nil {
						t.Error(err)
						return
					}
					for _, s := range mine.Shards() {
						if err := want.ReadRegion(ctx, s.Array.Bytes(), s.Offset, s.Array.Shape()); err != nil {
							t.Error(err)
						}
					}
					if err := orbax.Save(ctx, "ck", map[string]any{"round": round, "w": mine}, in, orbax.Overwrite(), together); err != nil {
						t.Errorf("process %d: %v", rank, err)
					}
				})
			}
			group.Wait()
			v, err := orbax.Load(ctx, "ck", in)
			must(t, err)
			if got := v.(map[string]any); got["round"] != round || !bytes.Equal(got["w"].(*array.Array).Bytes(), want.Bytes()) {
				t.Errorf("round %v, want %d, or another array", got["round"], round)
			}
			c, err := orbax.Open(ctx, "ck", in)
			must(t, err)
			if err := c.Verify(ctx); err != nil {
				t.Error(err)
			}
		}
		wantKeys(t, b, "ck")
	})
}
