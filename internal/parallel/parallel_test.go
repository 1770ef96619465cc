package parallel

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
)

func TestGroup(t *testing.T) {
	g, ctx := WithContext(t.Context())
	g.SetLimit(2)
	var now, most, ran atomic.Int32
	for range 50 {
		g.Go(func() error {
			most.Store(max(most.Load(), now.Add(1)))
			runtime.Gosched()
			now.Add(-1)
			ran.Add(1)
			return nil
		})
	}
	if err := g.Wait(); err != nil || ran.Load() != 50 || most.Load() > 2 {
		t.Errorf("got %v from %d functions, %d at the same time; want 50, and at most 2", err, ran.Load(), most.Load())
	}
	if ctx.Err() == nil {
		t.Error("the context has not ended")
	}
}

func TestGroupFails(t *testing.T) {
	g, ctx := WithContext(t.Context())
	first := errors.New("first")
	g.Go(func() error { return first })
	g.Go(func() error { <-ctx.Done(); return ctx.Err() })
	if err := g.Wait(); err != first || context.Cause(ctx) != first {
		t.Errorf("got %v and the cause %v, want the first error", err, context.Cause(ctx))
	}
}

// A function that ends its goroutine has failed, and the others of the group end.
func TestGroupExits(t *testing.T) {
	g, ctx := WithContext(t.Context())
	g.SetLimit(2)
	g.Go(func() error { runtime.Goexit(); return nil })
	g.Go(func() error { <-ctx.Done(); return nil })
	g.Go(func() error { return nil })
	if err := g.Wait(); err != errExited {
		t.Errorf("got %v, want %v", err, errExited)
	}
	var none Group
	none.Go(func() error { runtime.Goexit(); return nil })
	if err := none.Wait(); err != errExited {
		t.Errorf("got %v, want %v", err, errExited)
	}
}
