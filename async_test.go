package orbax_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
)

// gate is a Stateful object whose writing waits until it is opened.
type gate struct {
	open chan struct{}
	err  error
}

func newGate(err error) *gate { return &gate{make(chan struct{}), err} }

func (g *gate) SaveState(context.Context) (handler.WriteFunc, error) {
	return func(ctx context.Context, dir *handler.WriteDir) error {
		select {
		case <-g.open:
			return g.err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}, nil
}

func (g *gate) LoadState(context.Context, *handler.ReadDir) error { return nil }

func TestSaveAsyncTakesASnapshot(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ckpt")
	g := newGate(nil)
	big := make([]float64, 1<<20)
	for i := range big {
		big[i] = float64(i)
	}
	small := []int32{1, 2, 3}
	blob := []byte("abc")
	state := map[string]any{"big": array.Of(big), "small": small, "blob": blob, "step": 7}
	resp, err := orbax.SaveCheckpointablesAsync(ctx, path, map[string]any{"state": state, "gate": g})
	if err != nil {
		t.Fatal(err)
	}
	clear(big)
	clear(small)
	copy(blob, "xyz")
	state["step"] = 8
	close(g.open)
	if err := resp.Result(ctx); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Big   []float64 `orbax:"big"`
		Small []int32   `orbax:"small"`
		Blob  []byte    `orbax:"blob"`
		Step  int       `orbax:"step"`
	}
	if err := orbax.LoadInto(ctx, path, &got); err != nil {
		t.Fatal(err)
	}
	for i, v := range got.Big {
		if v != float64(i) {
			t.Fatalf("big[%d] is %v: the save saw a change made after it was accepted", i, v)
		}
	}
	if fmt.Sprintf("%v %s %d", got.Small, got.Blob, got.Step) != "[1 2 3] abc 7" {
		t.Errorf("loaded %v %s %d", got.Small, got.Blob, got.Step)
	}
}

func TestAsyncResponse(t *testing.T) {
	ctx := t.Context()
	fail := errors.New("disk on fire")
	for _, want := range []error{nil, fail} {
		t.Run(fmt.Sprint(want), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ckpt")
			g := newGate(want)
			resp, err := orbax.SaveCheckpointablesAsync(ctx, path, map[string]any{"gate": g})
			if err != nil {
				t.Fatal(err)
			}
			short, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			if err := resp.Result(short); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Result of a save that goes on, with a deadline: %v", err)
			}
			var mu sync.Mutex
			var calls []error
			record := func(err error) {
				mu.Lock()
				defer mu.Unlock()
				calls = append(calls, err)
			}
			done := make(chan struct{})
			resp.OnComplete(record)
			resp.OnComplete(func(error) { close(done) })
			close(g.open)
			for range 2 {
				if err := resp.Result(ctx); !errors.Is(err, want) {
					t.Errorf("Result: %v, want %v", err, want)
				}
			}
			select {
			case <-resp.Done():
			default:
				t.Error("Done is open after Result")
			}
			<-done
			resp.OnComplete(record) // finished: at once
			mu.Lock()
			defer mu.Unlock()
			if len(calls) != 2 || !errors.Is(calls[0], want) || !errors.Is(calls[1], want) {
				t.Errorf("OnComplete was called with %v", calls)
			}
		})
	}
}

func TestSaveAsyncRefusesAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ckpt")
	_, err := orbax.SaveAsync(t.Context(), path, map[string]any{"a": make(chan int), "b": func() {}})
	var e *orbax.Error
	if !errors.As(err, &e) || len(e.Leaves()) != 2 || !errors.Is(err, orbax.ErrLeafType) {
		t.Errorf("two leaves of unsupported types: %v", err)
	}
}
