package orbax

import (
	"context"

	"github.com/go-orbax/orbax/internal/save"
	"github.com/go-orbax/orbax/internal/transfer"
)

// Save writes state as a checkpoint at path, and returns when the checkpoint is complete
// and durable. state must have at least one leaf. path must not exist, except with
// [Overwrite]; missing parents are created.
//
// After an error, or when ctx is cancelled, nothing is left behind except the parents.
// The exception is an error that matches [ErrInPlace]: the checkpoint is in place, and
// the error reports a later step that failed. A save that cannot fit on the disk fails
// with [ErrNoSpace] before it writes.
//
// The state must not change before Save returns. Save writes large arrays straight from
// their memory and computes their checksums at the same time. An array that changes
// meanwhile is reported as damaged when it is loaded.
func Save(ctx context.Context, path string, state any, options ...SaveOption) error {
	c := save.NewConfig(options)
	return saveNow(ctx, path, map[string]any{c.Name: state}, c)
}

// SaveAsync is [Save] in the background: it returns when it has copied state. The caller
// may then change state at once. With [ReuseSnapshot] several saves use the same memory
// for the copies, and with [Immutable] no copy is made.
//
// SaveAsync itself returns an error if the save can be refused. The response reports
// later failures. ctx governs the whole save, even after SaveAsync has returned: a
// function that leaves the save running must not cancel it on its way out.
//
// A program that ends without waiting leaves an unfinished temporary directory in the
// directory of path, and leaves path as it was.
func SaveAsync(ctx context.Context, path string, state any, options ...SaveOption) (*AsyncResponse, error) {
	c := save.NewConfig(options)
	return saveAsync(ctx, path, map[string]any{c.Name: state}, c)
}

// SaveCheckpointables writes a checkpoint of several checkpointables, each in a directory
// of its name. The type of a checkpointable decides how it is stored; see package
// handler. A nil value is refused. If there are several pytrees, a load without [Name]
// takes the one called "state", or else the first by name. So call the main pytree
// "state", or give Name to loads.
func SaveCheckpointables(ctx context.Context, path string, checkpointables map[string]any, options ...SaveCheckpointablesOption) error {
	return saveNow(ctx, path, checkpointables, save.NewConfig(options))
}

// SaveCheckpointablesAsync is to [SaveCheckpointables] as [SaveAsync] is to [Save].
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

// saveOperation has the engine that moves the data of a save, and the observer that
// reports its work.
type saveOperation struct {
	engine   *transfer.Engine
	observer *observer
}

func newOperation(c *save.Config) saveOperation {
	e := c.NewEngine()
	return saveOperation{e, newObserver("save", &c.Common, e.Meter)}
}

// end releases the memory of the save and reports its work.
func (o saveOperation) end(err error) {
	o.engine.Release()
	o.observer.end(err)
}
