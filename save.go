package orbax

import (
	"context"

	"github.com/go-orbax/orbax/internal/save"
	"github.com/go-orbax/orbax/internal/transfer"
)

// Save writes state, which must have at least one leaf, as a checkpoint at path,
// which must not exist unless Overwrite is given; missing parents are created. It
// returns when the checkpoint is complete and durable. After an error, or when ctx
// is cancelled, nothing is left behind but parents. The one exception: an error
// that matches ErrInPlace reports what could not be done after the checkpoint was in
// place. A save that cannot fit on the disk is refused before it starts, with
// ErrNoSpace.
//
// The state must not change before Save returns. Large arrays are written from
// where they lie, and their checksums computed on the way: one that changes in
// between is found to be damaged when it is loaded.
func Save(ctx context.Context, path string, state any, options ...SaveOption) error {
	c := save.NewConfig(options)
	return saveNow(ctx, path, map[string]any{c.Name: state}, c)
}

// SaveAsync is Save in the background: it returns when state has been copied,
// and the caller may change it at once. With ReuseSnapshot the copies of several
// saves share their memory, with Immutable none is made. Whatever can be refused is refused by
// SaveAsync itself; later failures come from the response. ctx governs the
// whole save, also after SaveAsync has returned: do not cancel it on the way
// out of a function that leaves the save running.
//
// A program that ends without waiting leaves an unfinished temporary directory
// beside path, and path as it was.
func SaveAsync(ctx context.Context, path string, state any, options ...SaveOption) (*AsyncResponse, error) {
	c := save.NewConfig(options)
	return saveAsync(ctx, path, map[string]any{c.Name: state}, c)
}

// SaveCheckpointables writes a checkpoint of several checkpointables, each in a
// directory of its name. The type of a checkpointable decides how it is stored; see
// package handler. nil is refused. If there are several pytrees, a load without [Name]
// takes the one called "state", or the first by name if there is none: call the main
// pytree "state", or give Name to loads.
func SaveCheckpointables(ctx context.Context, path string, checkpointables map[string]any, options ...SaveCheckpointablesOption) error {
	return saveNow(ctx, path, checkpointables, save.NewConfig(options))
}

// SaveCheckpointablesAsync is to SaveCheckpointables as SaveAsync is to Save.
func SaveCheckpointablesAsync(ctx context.Context, path string, checkpointables map[string]any, options ...SaveCheckpointablesOption) (*AsyncResponse, error) {
	return saveAsync(ctx, path, checkpointables, save.NewConfig(options))
}

func saveNow(ctx context.Context, path string, values map[string]any, c *save.Config) (err error) {
	o := newOperation(c)
	defer func() { o.end(err) }()
	s, err := save.Begin(ctx, o.engine, path, values, c)
	if err == nil {
		err = s.Run(ctx)
	}
	return wrap(ctx, "save", path, err)
}

func saveAsync(ctx context.Context, path string, values map[string]any, c *save.Config) (r *AsyncResponse, err error) {
	c.Handler.Snapshot = true
	o := newOperation(c)
	defer func() {
		if r == nil { // refused, or a handler has panicked
			o.end(err)
		}
	}()
	s, err := save.Begin(ctx, o.engine, path, values, c)
	if err != nil {
		return nil, wrap(ctx, "save", path, err)
	}
	return respond(func() (err error) {
		defer func() { o.end(err) }()
		return wrap(ctx, "save", path, s.Run(ctx))
	}), nil
}

// saveOperation is what moves the data of a save, and what reports it.
type saveOperation struct {
	engine   *transfer.Engine
	observer *observer
}

func newOperation(c *save.Config) saveOperation {
	e := c.NewEngine()
	return saveOperation{e, newObserver("save", &c.Common, e.Meter)}
}

// end gives back what the save has taken, and reports what it did.
func (o saveOperation) end(err error) {
	o.engine.Release()
	o.observer.end(err)
}
