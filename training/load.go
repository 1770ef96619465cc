package training

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/savehook"
)

// Open opens a step, which may be LatestStep. If there is none the error matches
// orbax.ErrNotExist. A step that is removed while it is read fails with
// orbax.ErrBusy or orbax.ErrNotExist.
func (c *Checkpointer) Open(ctx context.Context, step int) (*orbax.Checkpoint, error) {
	_, ck, err := c.open(ctx, step)
	return ck, wrap("open", c.root.name, step, err)
}

func (c *Checkpointer) open(ctx context.Context, step int) (Checkpoint, *orbax.Checkpoint, error) {
	if err := c.checkOpen(); err != nil {
		return Checkpoint{}, nil, err
	}
	if err := c.refresh(ctx); err != nil {
		return Checkpoint{}, nil, err
	}
	at, err := c.steps.find(step)
	if err != nil {
		return at, nil, err
	}
	ck, err := orbax.Open(ctx, at.Path)
	return at, ck, err
}

// with calls read with a step that is open, and takes note of damage.
func with[T any](ctx context.Context, c *Checkpointer, op string, step int, read func(Checkpoint, *orbax.Checkpoint) (T, error)) (v T, err error) {
	at, ck, err := c.open(ctx, step)
	if err == nil {
		defer ck.Close()
		v, err = read(at, ck)
	}
	if errors.Is(err, orbax.ErrCorrupt) {
		c.steps.damage(at.Step, err)
		err = fmt.Errorf("%w (Resume takes the newest step that is in order)", err)
	}
	return v, wrap(op, c.root.name, step, err)
}

// Load reads a step, which may be LatestStep, as it was saved; see orbax.Load. It
// says so if the step is damaged, and takes no other in its place; Resume does.
func (c *Checkpointer) Load(ctx context.Context, step int, options ...orbax.LoadOption) (any, error) {
	return with(ctx, c, "load", step, func(_ Checkpoint, ck *orbax.Checkpoint) (any, error) {
		return ck.Load(ctx, options...)
	})
}

// LoadInto reads a step into target, as orbax.LoadInto does.
func (c *Checkpointer) LoadInto(ctx context.Context, step int, target any, options ...orbax.LoadOption) error {
	_, err := with(ctx, c, "load", step, func(_ Checkpoint, ck *orbax.Checkpoint) (any, error) {
		return nil, ck.LoadInto(ctx, target, options...)
	})
	return err
}

// LoadAbstract reads of a step what abstract describes, as orbax.LoadAbstract does.
func (c *Checkpointer) LoadAbstract(ctx context.Context, step int, abstract any, options ...orbax.LoadOption) (any, error) {
	return with(ctx, c, "load", step, func(_ Checkpoint, ck *orbax.Checkpoint) (any, error) {
		return ck.LoadAbstract(ctx, abstract, options...)
	})
}

// LoadCheckpointables reads several checkpointables of a step, as
// orbax.LoadCheckpointables does.
func (c *Checkpointer) LoadCheckpointables(ctx context.Context, step int, targets map[string]any, options ...orbax.LoadCheckpointablesOption) (map[string]any, error) {
	return with(ctx, c, "load", step, func(_ Checkpoint, ck *orbax.Checkpoint) (map[string]any, error) {
		return ck.LoadCheckpointables(ctx, targets, options...)
	})
}

// Metadata describes a step and the pytree that Load would load; see
// orbax.Metadata.
func (c *Checkpointer) Metadata(ctx context.Context, step int, options ...orbax.LoadOption) (*CheckpointMetadata, error) {
	return with(ctx, c, "metadata", step, func(at Checkpoint, ck *orbax.Checkpoint) (*CheckpointMetadata, error) {
		m, err := ck.Metadata(ctx, options...)
		if err != nil {
			return nil, err
		}
		return &CheckpointMetadata{m, at.Step, at.Time}, nil
	})
}

// CheckpointablesMetadata describes a step and all its checkpointables; see
// orbax.CheckpointablesMetadata.
func (c *Checkpointer) CheckpointablesMetadata(ctx context.Context, step int, options ...orbax.LoadCheckpointablesOption) (*CheckpointMetadata, error) {
	return with(ctx, c, "metadata", step, func(at Checkpoint, ck *orbax.Checkpoint) (*CheckpointMetadata, error) {
		m, err := ck.CheckpointablesMetadata(ctx, options...)
		if err != nil {
			return nil, err
		}
		return &CheckpointMetadata{m, at.Step, at.Time}, nil
	})
}

// Resume reads the newest step that is in order into target, as LoadInto does, and
// returns its number, or -1 with an error. A step that is found to be damaged is reported to the log and
// passed over: it stays as it is until the run comes to its number again, and that
// save replaces it. What a load fails with for other reasons, such as a target that
// does not fit, is returned.
//
// If there are no steps the error matches orbax.ErrNotExist: a new run. If there
// are only damaged ones it does not, and says what is wrong with each.
func (c *Checkpointer) Resume(ctx context.Context, target any, options ...orbax.LoadOption) (step int, err error) {
	return resume(ctx, c, convert[any](options), func(ck *orbax.Checkpoint) error {
		return ck.LoadInto(ctx, target, options...)
	})
}

// ResumeCheckpointables is Resume for several checkpointables, each with the target
// that it is read into; there must be one. A stateful object may be loaded more than
// once.
func (c *Checkpointer) ResumeCheckpointables(ctx context.Context, targets map[string]any, options ...orbax.LoadCheckpointablesOption) (step int, err error) {
	if len(targets) == 0 {
		return noStep, wrap("resume", c.root.name, noStep, fmt.Errorf("%w: there are no targets to load into", fault.ErrStructure))
	}
	return resume(ctx, c, convert[any](options), func(ck *orbax.Checkpoint) error {
		_, err := ck.LoadCheckpointables(ctx, targets, options...)
		return err
	})
}

// resume finds the newest step that load takes. What is left in a target by one that
// failed is overwritten by the next; unless the options leave some of it as it is:
// then a step is verified before it is loaded.
func resume(ctx context.Context, c *Checkpointer, options []any, load func(*orbax.Checkpoint) error) (int, error) {
	fail := func(step int, err error) (int, error) { return noStep, wrap("resume", c.root.name, step, err) }
	if err := c.checkOpen(); err != nil {
		return fail(noStep, err)
	}
	if err := c.refresh(ctx); err != nil {
		return fail(noStep, err)
	}
	if _, err := c.steps.find(LatestStep); err != nil {
		return fail(noStep, err)
	}
	partly := savehook.LoadsPartly(options)
	var passed []Checkpoint
	var errs []error
	for _, at := range slices.Backward(c.steps.all()) {
		err := at.Err // its documents are damaged
		if err == nil {
			err = attempt(ctx, at, partly, load)
		}
		switch {
		case err == nil:
			for _, ck := range passed {
				c.steps.pass(ck)
			}
			c.log.Info("resumed", "step", at.Step, "path", at.Path)
			return at.Step, nil
		case errors.Is(err, orbax.ErrCorrupt) && ctx.Err() == nil:
			c.steps.damage(at.Step, err)
			passed = append(passed, at)
		case errors.Is(err, orbax.ErrNotExist) && removed(ctx, at):
		case errors.Is(err, orbax.ErrNotExist): // a checkpointable, say; but there are steps
			return fail(at.Step, fmt.Errorf("%w: %v", fault.ErrStructure, err))
		default:
			return fail(at.Step, err)
		}
		errs = append(errs, err)
		c.log.Warn("passed over", "step", at.Step, "path", at.Path, "error", err)
	}
	if len(passed) == 0 { // all have been removed meanwhile
		return fail(noStep, fmt.Errorf("%w: there are no steps any more", fault.ErrNotExist))
	}
	// Not as one that says that there are no steps.
	return fail(noStep, fmt.Errorf("%w: no step is in order (with orbax.Select, Load takes what is whole of one): %v", fault.ErrCorrupt, errors.Join(errs...)))
}

// attempt loads a step, which it may have to verify before.
func attempt(ctx context.Context, at Checkpoint, verify bool, load func(*orbax.Checkpoint) error) error {
	_, err := opened(ctx, at.Path, func(ctx context.Context, ck *orbax.Checkpoint) (any, error) {
		if verify {
			if err := ck.Verify(ctx); err != nil {
				return nil, err
			}
		}
		return nil, load(ck)
	})
	return err
}

// removed reports whether a step has been removed since it was found.
func removed(ctx context.Context, at Checkpoint) bool {
	_, err := opened(ctx, at.Path, readInfo)
	return errors.Is(err, orbax.ErrNotExist)
}
