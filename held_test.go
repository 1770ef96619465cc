package orbax_test

import (
	"context"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
)

// heldItem is a checkpointable whose writing stops half way until it is
// released, or its save cancelled.
type heldItem struct {
	started, release chan struct{}
}

func newHeldItem() *heldItem {
	return &heldItem{make(chan struct{}), make(chan struct{})}
}

func (h *heldItem) SaveState(context.Context) (handler.WriteFunc, error) {
	return func(ctx context.Context, dir *handler.WriteDir) error {
		if err := dir.WriteFile(ctx, "half", []byte("data")); err != nil {
			return err
		}
		close(h.started)
		select {
		case <-h.release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}, nil
}

func (h *heldItem) LoadState(context.Context, *handler.ReadDir) error { return nil }

// hold begins a save to path that goes on until it is released or cancelled.
func hold(ctx context.Context, path string, options ...orbax.SaveCheckpointablesOption) (*heldItem, *orbax.AsyncResponse, error) {
	h := newHeldItem()
	resp, err := orbax.SaveCheckpointablesAsync(ctx, path, map[string]any{"held": h, "state": crashState(9)}, options...)
	if err == nil {
		select {
		case <-h.started:
		case <-resp.Done():
			err = resp.Result(ctx)
		}
	}
	return h, resp, err
}
