package multihost_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/multihost"
)

// own is a [handler.Stateful] that writes by a function.
type own handler.WriteFunc

func (o own) SaveState(context.Context) (handler.WriteFunc, error) { return handler.WriteFunc(o), nil }
func (o own) LoadState(context.Context, *handler.ReadDir) error    { return nil }
func saveOwn(t *testing.T, path string, n int, timeout time.Duration, write func(ctx context.Context, g *coord.Group, dir *handler.WriteDir) error) []error {
	return together(n, func(g *coord.Group) error {
		g.Timeout = timeout
		state := map[string]any{"state": map[string]any{"w": count(8)}, "data": own(func(ctx context.Context, dir *handler.WriteDir) error { return write(ctx, g, dir) })}
		return orbax.SaveCheckpointables(t.Context(), path, state, multihost.Together{Group: g})
	})
}

// A handler may return the cause of its context: the process that has failed is named, and
// no other.
func TestCauseTogether(t *testing.T) {
	for one := range 2 {
		errs := saveOwn(t, filepath.Join(t.TempDir(), "a"), 3, time.Minute, func(ctx context.Context, g *coord.Group, _ *handler.WriteDir) error {
			if g.Rank() == 2 {
				time.Sleep(20 * time.Millisecond)
				return errors.New("disk of 2 broke")
			}
			<-ctx.Done()
			if g.Rank() == one {
				return context.Cause(ctx)
			}
			time.Sleep(20 * time.Millisecond)
			return ctx.Err()
		})
		for rank, err := range errs {
			if err == nil || !strings.Contains(err.Error(), "disk of 2 broke") || strings.Contains(err.Error(), "process 0") || strings.Contains(err.Error(), "process 1") {
				t.Errorf("process %d returns the cause; process %d has %v", one, rank, err)
			}
		}
	}
}

// If rank 0 is lost while others are stuck, one process revokes its stage, and no one says
// that the checkpoint may be there.
func TestStuckTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	stuck := make(chan struct{})
	errs := saveOwn(t, path, 5, time.Second, func(_ context.Context, g *coord.Group, _ *handler.WriteDir) error {
		switch g.Rank() {
		case 0:
			_ = g.Close()
			<-stuck
		case 1:
			time.Sleep(6 * time.Second)
			close(stuck)
		}
		return nil
	})
	for rank, err := range errs[1:] {
		if err == nil || strings.Contains(err.Error(), "may be there") {
			t.Errorf("process %d: %v", rank+1, err)
		}
	}
	if err := orbax.Save(t.Context(), path, map[string]any{"w": 1}); err != nil {
		t.Error(err)
	}
}

// Two processes that write one file learn what to do.
func TestSameFileTogether(t *testing.T) {
	errs := saveOwn(t, filepath.Join(t.TempDir(), "a"), 2, time.Minute, func(ctx context.Context, g *coord.Group, dir *handler.WriteDir) error {
		return dir.WriteFile(ctx, "state.json", []byte("{}"))
	})
	for rank, err := range errs {
		if !errors.Is(err, orbax.ErrKeyCollision) || !strings.Contains(err.Error(), "DatasetIteratorOf") {
			t.Errorf("process %d: %v", rank, err)
		}
	}
}
