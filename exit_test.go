package orbax_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/mem"
	"github.com/go-orbax/orbax/training"
)

// exitReads is a store that calls at before each operation that reads.
type exitReads struct {
	storage.Store
	at func()
}

func (s exitReads) Confined(root string, outside bool) storage.Store {
	return exitReads{storage.Confine(s.Store, root, outside), s.at}
}

func (s exitReads) Snapshot(ctx context.Context, dir string) (storage.Store, error) {
	in, err := s.Store.Snapshot(ctx, dir)
	if in == nil || err != nil {
		return nil, err
	}
	return exitReads{in, s.at}, nil
}

func (s exitReads) Open(ctx context.Context, name string) (storage.Reader, error) {
	s.at()
	r, err := s.Store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return exitReader{r, s.at}, nil
}

func (s exitReads) Stat(ctx context.Context, name string) (storage.Info, error) {
	s.at()
	return s.Store.Stat(ctx, name)
}

func (s exitReads) List(ctx context.Context, name string) ([]storage.Info, error) {
	s.at()
	return s.Store.List(ctx, name)
}

type exitReader struct {
	storage.Reader
	at func()
}

func (r exitReader) ReadAt(ctx context.Context, p []byte, off int64) error {
	r.at()
	return r.Reader.ReadAt(ctx, p, off)
}

// A store or a handler may end the goroutine that calls it, as the Fatal method of a test
// does. Nothing takes that for success, and nothing waits for ever.
func TestGoroutineExits(t *testing.T) {
	ctx := t.Context()
	state := map[string]any{"a": make([]float32, 300_000), "b": []int32{1, 2}, "s": "text"}
	for i := range state["a"].([]float32) {
		state["a"].([]float32)[i] = 7
	}
	items := map[string]any{"state": state, "other": map[string]any{"x": []float32{3}}}
	plain := orbax.Storage(handler.StorageOptions{PlainFiles: true})
	saved := mem.New()
	for path, options := range map[string][]orbax.SaveCheckpointablesOption{"db": nil, "plain": {plain}} {
		if err := orbax.SaveCheckpointables(ctx, path, items, append(options, orbax.In(saved))...); err != nil {
			t.Fatal(err)
		}
	}
	for name, do := range map[string]func(reads, all storage.Store) error{
		"load": func(reads, _ storage.Store) error {
			for _, path := range []string{"db", "plain"} {
				got, err := orbax.LoadCheckpointables(ctx, path, nil, orbax.In(reads))
				if err != nil {
					return err
				}
				a, _ := got["state"].(map[string]any)["a"].(*array.Array)
				if values, err := array.Values[float32](a); err != nil || len(got) != 2 || !slices.Equal(values, state["a"].([]float32)) {
					t.Errorf("%s: loaded other values without an error", path)
				}
			}
			return nil
		},
		"verify": func(reads, _ storage.Store) error { return orbax.Verify(ctx, "plain", orbax.In(reads)) },
		"hash": func(reads, _ storage.Store) error {
			_, err := orbax.Hash(ctx, "db", orbax.In(reads))
			return err
		},
		"save": func(_, all storage.Store) error {
			if err := orbax.SaveCheckpointables(ctx, "new", items, plain, orbax.In(all)); err != nil {
				return err
			}
			return orbax.Verify(ctx, "new", orbax.In(all))
		},
		"save in the background": func(_, all storage.Store) error {
			r, err := orbax.SaveCheckpointablesAsync(ctx, "new", items, orbax.In(all))
			if err != nil {
				return err
			}
			return r.Result(ctx)
		},
		"run": func(_, all storage.Store) error {
			c, err := training.New(ctx, "run", training.Options{Store: all, Preservation: training.LatestN{N: 1}})
			if err != nil {
				return err
			}
			for step := range 3 {
				if _, err := c.Save(ctx, step, state, training.Force()); err != nil {
					c.Close()
					return err
				}
			}
			return c.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			for n := int32(1); ; n++ {
				var count atomic.Int32
				at := func() {
					if count.Add(1) == n {
						runtime.Goexit()
					}
				}
				err := fmt.Errorf("the goroutine of the caller has ended")
				done := make(chan struct{})
				go func() {
					defer close(done)
					all := failstore.New(exitReads{mem.New(), at}, func(string, string) error { at(); return nil })
					err = do(exitReads{saved, at}, all)
				}()
				select {
				case <-done:
				case <-time.After(20 * time.Second):
					t.Fatalf("operation %d ends its goroutine: no result", n)
				}
				if count.Load() < n {
					if err != nil {
						t.Error(err)
					}
					t.Logf("%d operations", n-1)
					break
				}
				if err == nil && name != "run" { // whose removals may give up looking for what is left
					t.Errorf("operation %d ends its goroutine: success", n)
				}
			}
		})
	}
}
