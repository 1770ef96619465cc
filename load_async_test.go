package orbax_test

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
)

// A load that is cancelled ends at once, whatever it waits for, and leaves no
// goroutine behind.
func TestLoadAsyncCancelled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ckpt")
	state := map[string]any{"w": noise(t, 64, 1024), "b": []float64{1, 2}, "name": "run"}
	must(t, orbax.Save(t.Context(), path, state, orbax.Storage(handler.StorageOptions{PlainFiles: true})))
	for name, load := range map[string]func(ctx context.Context, path string) error{
		"LoadAsync": func(ctx context.Context, path string) error {
			_, err := orbax.LoadAsync(ctx, path).Result(context.Background())
			return err
		},
		"LoadIntoAsync": func(ctx context.Context, path string) error {
			_, err := orbax.LoadIntoAsync(ctx, path, new(any)).Result(context.Background())
			return err
		},
		"LoadCheckpointablesAsync": func(ctx context.Context, path string) error {
			_, err := orbax.LoadCheckpointablesAsync(ctx, path, nil).Result(context.Background())
			return err
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
func blockedLoad(t *testing.T, path string, n int, load func(context.Context, string) error) bool {
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
	go func() { ended <- load(ctx, w.over(t, path)) }()
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

// Result's own context ends the wait and not the load.
func TestLoadAsyncResult(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ckpt")
	must(t, orbax.Save(t.Context(), path, map[string]any{"step": 7}))
	open := make(chan struct{})
	w := &watch{before: func(context.Context, int) error { <-open; return nil }}
	resp := orbax.LoadAsync(t.Context(), w.over(t, path))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := resp.Result(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the wait ended with %v", err)
	}
	select {
	case <-resp.Done():
		t.Error("the load is done while its store blocks")
	default:
	}
	close(open)
	for range 2 {
		v, err := resp.Result(t.Context())
		if err != nil || v.(map[string]any)["step"] != 7 {
			t.Errorf("got %v, %v", v, err)
		}
	}
	<-resp.Done()
	if v, err := resp.Result(ctx); err != nil || v == nil {
		t.Errorf("a load that is done gives %v, %v to a context that has ended", v, err)
	}
}
