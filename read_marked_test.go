package orbax_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/storage"
)

// TestReadWhileMarked reads a checkpoint that is being saved by marker, which gets on from
// any state to the next, or to its end, between any two accesses. It is complete, or not
// there, or not finished, and never damaged.
func TestReadWhileMarked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ckpt")
	var mu sync.Mutex // several files are written at once
	var states []files
	look := func() {
		mu.Lock()
		defer mu.Unlock()
		if _, err := os.Stat(path); err == nil {
			if now := readFiles(t, path); len(now) > 0 { // files have no empty directories
				states = append(states, now)
			}
		}
	}
	store := failstore.New(storage.Local(), func(string, string) error { // before each operation
		look()
		return nil
	})
	parts := map[string]any{"state": map[string]any{"w": make([]float32, 1000), "q": "x"}, "cfg": handler.JSON{Value: 1}}
	if err := orbax.SaveCheckpointables(t.Context(), filepath.ToSlash(path), parts, orbax.In(store), orbax.Atomicity(orbax.CommitFile)); err != nil {
		t.Fatal(err)
	}
	look()
	last := len(states) - 1
	if last < 10 {
		t.Fatalf("only %d states", last)
	}
	for name, read := range reads {
		if name == "IsCheckpoint" {
			read = func(ctx context.Context, in orbax.StoreOption) error {
				_, err := orbax.IsCheckpoint(ctx, "ckpt", in)
				return err
			}
		}
		t.Run(name, func(t *testing.T) {
			complete := 0
			for i := range last {
				for _, next := range []int{i + 1, last} {
					for at := 1; ; at++ {
						s := &brittleStore{swapStore: swapStore{old: states[i].store(), new: states[next].store(), at: at}, failAt: -1}
						err := read(t.Context(), orbax.In(s))
						if s.n < at {
							break
						}
						switch {
						case err == nil:
							complete++
						case errors.Is(err, orbax.ErrCorrupt), !errors.Is(err, orbax.ErrIncomplete) && !errors.Is(err, orbax.ErrBusy) && !errors.Is(err, orbax.ErrInvalidCheckpoint):
							t.Errorf("from %v to %v at access %d: %v", states[i].names(), states[next].names(), at, err)
						}
					}
				}
			}
			if complete == 0 {
				t.Error("never complete")
			}
		})
	}
}
