package orbax_test

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/sharding"
)

// A load that is cancelled ends at once, whatever it waits for, and leaves no
// goroutine behind.
func TestLoadCancelled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ckpt")
	state := map[string]any{"w": noise(t, 64, 1024), "b": []float64{1, 2}, "name": "run"}
	must(t, orbax.Save(t.Context(), path, state, orbax.Storage(handler.StorageOptions{PlainFiles: true})))
	for name, load := range map[string]func(ctx context.Context, path string, in orbax.StoreOption) error{
		"Load": func(ctx context.Context, path string, in orbax.StoreOption) error {
			_, err := orbax.Load(ctx, path, in)
			return err
		},
		"LoadInto": func(ctx context.Context, path string, in orbax.StoreOption) error {
			return orbax.LoadInto(ctx, path, new(any), in)
		},
		"LoadCheckpointables": func(ctx context.Context, path string, in orbax.StoreOption) error {
			_, err := orbax.LoadCheckpointables(ctx, path, nil, in)
			return err
		},
		"shards": func(ctx context.Context, path string, in orbax.StoreOption) error {
			mesh := sharding.Mesh{Shape: []int{4}, AxisNames: []string{"x"}}
			w := array.ShapeDtypeStruct{Shape: []int{64, 1024}, DType: array.Uint32, Sharding: sharding.Named(mesh, sharding.PartitionSpec{{"x"}})}
			every := sharding.Process{Size: 2, Owner: func(device int) int { return device % 2 }} // the boxes are apart
			held, err := array.AllocSharded(w, every)
			if err != nil {
				return err
			}
			return orbax.LoadInto(ctx, path, map[string]any{"w": held}, in, orbax.Partial())
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			reads := 1
			for ; blockedLoad(t, path, reads, load); reads++ {
			}
			if reads < 5 {
				t.Errorf("there were %d reads to block", reads-1)
			}
			deadline := time.Now().Add(5 * time.Second)
			for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
				time.Sleep(time.Millisecond)
			}
			if n := runtime.NumGoroutine(); n > before {
				t.Errorf("%d goroutines, %d before", n, before)
			}
		})
	}
}

// blockedLoad cancels a load whose read number n, and all later ones, would never
// end. It reports whether there was such a read.
func blockedLoad(t *testing.T, path string, n int, load func(context.Context, string, orbax.StoreOption) error) bool {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	blocked := make(chan struct{}, 100)
	w := &watch{before: func(ctx context.Context, i int) error {
		if i < n {
			return nil
		}
		blocked <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}}
	ended := make(chan error, 1)
	go func() { ended <- load(ctx, filepath.ToSlash(path), w.in()) }()
	select {
	case <-blocked:
		cancel()
	case err := <-ended:
		must(t, err)
		return false
	}
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("blocked in read %d: %v", n, err)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("blocked in read %d: the load did not end", n)
	}
	return true
}
