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
// a failed one in the target. With options that leave parts of the target as they are, as
// [orbax.Partial] does, it would not, so resume verifies a step before it loads it.
func resume[O orbax.LoadOption](ctx context.Context, c *Checkpointer, options []O, load func(*orbax.Checkpoint) error) (int, error) {
	loads := config.NewLoad(options)
	if loads.HandOver {
		return noStep, c.root.wrap("resume", noStep, errHandOver)
	}
	r := resumption{c: c, op: c.operation("resume"), open: openOption(loads.Open), load: load, failed: noStep}
	r.refused = r.open.in(c.root.given)
	if loads.Handler.Partial {
		r.verify = func(ck *orbax.Checkpoint) error { return ck.Verify(ctx, verifyOptions(options)...) }
	}
	var at Step
	err := whileMoving(ctx, func() (moved bool, err error) {
		at, err = r.newest(ctx)
		if moved = errors.Is(err, errMoved); moved {
			c.log.Debug("looking again", "reason", err)
		}
		return moved, err
	})
	r.op.end(ctx, err)
	if err == nil || errors.Is(err, orbax.ErrNotExist) { // the latter is a new run
		c.steps.passUnfinished()
	}
	if err != nil {
		return noStep, c.root.wrap("resume", r.failed, err)
	}
	c.log.Info("resumed", "step", at.Step, "path", at.Path)
	return at.Step, nil
}

// verifyOptions returns the options of a load that are options of a verification too.
func verifyOptions[O any](options []O) (all []orbax.VerifyOption) {
	for _, o := range options {
		if o, ok := any(o).(orbax.VerifyOption); ok {
			all = append(all, o)
		}
	}
	return all
}

// resumption is the state of one Resume.
type resumption struct {
	c    *Checkpointer
	op   *operation
	open openOption
	// refused is an error of the options.
	refused error
	verify  func(*orbax.Checkpoint) error // nil if a load checks enough
	load    func(*orbax.Checkpoint) error
	failed  int // the step whose error ended it, or noStep
}

// newest reads the root, loads the newest intact step, and returns it.
func (r *resumption) newest(ctx context.Context) (Step, error) {
	c := r.c
	list, err := r.op.reread(ctx, "list", cmp.Or(c.checkOpen(), r.refused))
	if err != nil {
		return Step{}, err
	}
	if at, err := list.find(LatestStep); err != nil {
		return at, err
	}
	var passed []Step
	var errs []error
	for _, at := range c.copies(list) {
		err := r.attempt(ctx, at)
		switch {
		case err == nil:
			for _, step := range passed {
				if step.Step > at.Step { // not another copy of it
					c.stepsOf(step).pass(step)
				}
			}
			return at, nil
		case errors.Is(err, errMoved):
			return at, err
		case errors.Is(err, orbax.ErrCorrupt) && ctx.Err() == nil:
			c.stepsOf(at).damage(at, err)
		default:
			r.failed = at.Step
			return at, err
		}
		passed, errs = append(passed, at), append(errs, err)
		c.log.Warn("passed over", "step", at.Step, "path", at.Path, "error", err)
	}
	if list, err = r.op.reread(ctx, "list", nil); err != nil {
		return Step{}, err
	}
	if slices.ContainsFunc(list.steps, func(step Step) bool { return step.Err == nil }) {
		return Step{}, fmt.Errorf("%w: there is a new one", errMoved)
	}
	// The error must not match ErrNotExist, because there are steps.
	return Step{}, fmt.Errorf("%w: no step is intact (with orbax.Select, Load takes what is whole of one): %v", fault.ErrCorrupt, errors.Join(errs...))
}

// attempt loads a step, and verifies it first if necessary. All processes return the same
// kind of error: errMoved, one that matches ErrCorrupt, or another one.
func (r *resumption) attempt(ctx context.Context, at Step) error {
	if at.Err != nil { // its documents are damaged
		var err error
		if r.op.leads() {
			err = at.Err
		}
		return r.agree(ctx, at, err)
	}
	open := r.open
	open.Store = r.c.rootOf(at).given
	if r.verify != nil {
		var err error
		if r.op.leads() { // one process is enough
			_, err = opened(ctx, at.Path, open, func(_ context.Context, ck *orbax.Checkpoint) (any, error) { return nil, r.verify(ck) })
		}
		if err := r.agree(ctx, at, err); err != nil {
			return err
		}
	}
	_, err := opened(ctx, at.Path, open, func(_ context.Context, ck *orbax.Checkpoint) (any, error) { return nil, r.load(ck) })
	return r.agree(ctx, at, err)
}

// agree makes the outcome of a load that of all processes.
func (r *resumption) agree(ctx context.Context, at Step, err error) error {
	err = r.c.rootOf(at).called(err)
	switch {
	case err == nil:
	case r.c.rootOf(at).hasMoved(ctx, at, err):
		err = fmt.Errorf("%w: of step %d: %v", errMoved, at.Step, err)
	case errors.Is(err, orbax.ErrCorrupt) && ctx.Err() == nil:
	case errors.Is(err, orbax.ErrNotExist): // for example a missing checkpointable; there are steps
		err = unfit{err}
	}
	return r.op.worst(ctx, err)
}
