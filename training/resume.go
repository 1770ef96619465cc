package training

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/fault"
)

// resume finds the newest step that load can load. A later load overwrites the remains of
// a failed one in the target. If the options leave some of the target as it is, that is
// not so, and resume verifies a step before it loads it.
func resume(ctx context.Context, c *Checkpointer, o *config.Load, load func(*orbax.Checkpoint) error) (int, error) {
	r := resumption{c: c, partly: o.Handler.Partial, open: openOption(o.Open), load: load}
	err := cmp.Or(c.checkOpen(), r.open.in(c.root.given))
	for n := 1; err == nil; n++ {
		if err = c.refresh(ctx); err != nil {
			break
		}
		var at Step
		at, err = r.newest(ctx)
		switch {
		case err == nil:
			c.steps.passUnfinished()
			c.log.Info("resumed", "step", at.Step, "path", at.Path)
			return at.Step, nil
		case errors.Is(err, orbax.ErrNotExist): // a new run
			c.steps.passUnfinished()
		case errors.Is(err, errMoved) && n < maxLooks:
			c.log.Debug("looking again", "reason", err)
			err = nil
		}
	}
	return noStep, c.root.wrap("resume", r.failed, err)
}

// errMoved is the error of a read during which steps were removed or replaced: there are
// others by now.
var errMoved = fmt.Errorf("%w: the steps have changed while they were read", fault.ErrBusy)

// resumption is the state of one Resume.
type resumption struct {
	c      *Checkpointer
	partly bool
	open   openOption
	load   func(*orbax.Checkpoint) error
	failed int // the step whose error ended it, or noStep
}

// newest loads the newest intact step of the list, and returns it.
func (r *resumption) newest(ctx context.Context) (Step, error) {
	c := r.c
	r.failed = noStep
	if at, err := c.steps.find(LatestStep); err != nil {
		return at, err
	}
	var passed []Step
	var errs []error
	for _, at := range slices.Backward(c.steps.all()) {
		err := at.Err // its documents are damaged
		if err == nil {
			err = r.attempt(ctx, at)
		}
		switch {
		case err == nil:
			for _, ck := range passed {
				c.steps.pass(ck)
			}
			return at, nil
		case c.root.hasMoved(ctx, at, err):
			return at, fmt.Errorf("%w: of step %d: %v", errMoved, at.Step, err)
		case errors.Is(err, orbax.ErrCorrupt) && ctx.Err() == nil:
			c.steps.damage(at, err)
		case errors.Is(err, orbax.ErrNotExist): // for example a missing checkpointable; there are steps
			r.failed = at.Step
			return at, unfit{err}
		default:
			r.failed = at.Step
			return at, err
		}
		passed, errs = append(passed, at), append(errs, err)
		c.log.Warn("passed over", "step", at.Step, "path", at.Path, "error", err)
	}
	if err := c.refresh(ctx); err != nil {
		return Step{}, err
	}
	if slices.ContainsFunc(c.steps.all(), func(ck Step) bool { return ck.Err == nil }) {
		return Step{}, fmt.Errorf("%w: there is a new one", errMoved)
	}
	// The error must not match ErrNotExist, because there are steps.
	return Step{}, fmt.Errorf("%w: no step is intact (with orbax.Select, Load takes what is whole of one): %v", fault.ErrCorrupt, errors.Join(errs...))
}

// attempt loads a step, and verifies it first if necessary.
func (r *resumption) attempt(ctx context.Context, at Step) error {
	_, err := opened(ctx, at.Path, r.open, func(ctx context.Context, ck *orbax.Checkpoint) (any, error) {
		if r.partly {
			if err := ck.Verify(ctx); err != nil {
				return nil, err
			}
		}
		return nil, r.load(ck)
	})
	return r.c.root.called(err)
}
