package future_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/future"
)

// The end of a wait's context ends the wait and not the work. Once there is an outcome,
// it has no effect.
func TestWait(t *testing.T) {
	open := make(chan struct{})
	f := future.Go(func() (int, error) { <-open; return 7, nil })
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if err := f.Wait(ctx); !errors.Is(err, stop) || !errors.Is(err, context.Canceled) {
		t.Errorf("the wait ended with %v, want %v", err, stop)
	}
	if err := future.Pause(ctx, time.Hour); !errors.Is(err, stop) || !errors.Is(err, context.Canceled) {
		t.Errorf("the pause ended with %v, want %v", err, stop)
	}
	if err := future.Pause(t.Context(), time.Millisecond); err != nil {
		t.Error(err)
	}
	if f.Ended() {
		t.Error("there is an outcome while the work goes on")
	}
	close(open)
	for range 2 {
		if err := f.Wait(t.Context()); err != nil {
			t.Errorf("the wait ended with %v", err)
		}
		if v, err := f.Outcome(); v != 7 || err != nil {
			t.Errorf("got %v, %v, want 7", v, err)
		}
	}
	<-f.Done()
	for range 100 { // a select could take either
		if err := f.Wait(ctx); err != nil {
			t.Fatalf("what has ended is waited for: %v", err)
		}
	}
}

// Every callback is called once with the outcome, whether it was added before or after
// the outcome was set. It may use the Future.
func TestThen(t *testing.T) {
	f := future.New[string]()
	failed := errors.New("failed")
	var calls atomic.Int32
	for range 3 {
		f.Then(func(v string, err error) {
			if v != "a" || err != failed {
				t.Errorf("got %v, %v, want a, %v", v, err, failed)
			}
			f.Then(func(string, error) { calls.Add(1) })
			calls.Add(1)
		})
	}
	f.Set("a", failed)
	if n := calls.Load(); n != 6 {
		t.Errorf("%d calls, want 6", n)
	}
	f.Then(func(string, error) { calls.Add(1) })
	if n := calls.Load(); n != 7 {
		t.Errorf("%d calls after one more, want 7", n)
	}
}
