package training

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/future"
)

// Open opens a step, which may be [LatestStep]. If there is none the error matches
// [orbax.ErrNotExist]. If the step is removed while Open reads it, the error matches
// [orbax.ErrBusy] or [orbax.ErrNotExist]; with [LatestStep] Open then opens the newest
// step that is left.
func (c *Checkpointer) Open(ctx context.Context, step int) (*orbax.Checkpoint, error) {
	o := c.ofStep("open", step)
	var at Step
	var ck *orbax.Checkpoint
	err := c.onStep(ctx, o, step, nil, func(found Step) (err error) {
		at = found
		ck, err = orbax.Open(ctx, at.Path, c.rootOf(at).open)
		return err
	})
	if err != nil && ck != nil { // another process could not open it
		err = errors.Join(err, ck.Close())
		ck = nil
	}
	return ck, c.root.wrap("open", meant(step, at), o.end(ctx, err))
}

// onStep reads the root and calls do with a step. If that step is the newest, and is
// removed or replaced meanwhile, onStep calls do again, because there is another newest
// step. err is an error of the options.
func (c *Checkpointer) onStep(ctx context.Context, o *operation, step int, err error, do func(Step) error) error {
	return whileMoving(ctx, func() (moved bool, _ error) {
		list, err := o.reread(ctx, "list", cmp.Or(err, c.checkOpen()))
		if err != nil {
			return false, err
		}
		at, err := list.find(step)
		if err != nil {
			return false, err
		}
		err = c.rootOf(at).called(do(at))
		moved = err != nil && step == LatestStep && c.rootOf(at).hasMoved(ctx, at, err)
		return o.agreeMoved(ctx, moved, err)
	})
}

// whileMoving calls do, which reports whether steps have moved so that it has to be called
// again, and waits a little longer each time. It returns the last error of do.
func whileMoving(ctx context.Context, do func() (moved bool, err error)) error {
	for n := 1; ; n++ {
		moved, err := do()
		if !moved || n == maxLooks {
			return err
		}
		if err := future.Pause(ctx, time.Duration(n-1)*time.Millisecond); err != nil {
			return err
		}
	}
}

// hasMoved reports whether err occurred because the step was removed or replaced.
func (r *root) hasMoved(ctx context.Context, at Step, err error) bool {
	switch {
	case ctx.Err() != nil || at.Path == "", inLiveExchange(err): // its writer may be dead
		return false
	case errors.Is(err, orbax.ErrBusy):
		return true
	case !errors.Is(err, orbax.ErrNotExist) && !errors.Is(err, orbax.ErrCorrupt):
		return false
	}
	m, err := opened(ctx, at.Path, r.open, readInfo)
	return errors.Is(err, orbax.ErrNotExist) || errors.Is(err, orbax.ErrBusy) ||
		err == nil && !m.CommitTime.IsZero() && !m.CommitTime.Equal(at.Time)
}

// with opens a step with the opening options of a load, calls read, and records damage.
func with[T any, O orbax.LoadOption](ctx context.Context, c *Checkpointer, op string, step int, options []O, read func(Step, *orbax.Checkpoint) (T, error)) (v T, err error) {
	loads := config.NewLoad(options)
	if loads.HandOver {
		return v, c.root.wrap(op, step, errHandOver)
	}
	o := c.ofStep(op, step)
	var at Step
	open := openOption(loads.Open)
	open.OneCall = true
	err = open.in(c.root.given)
	for {
		err = c.onStep(ctx, o, step, err, func(found Step) error {
			at = found
			open.Store = c.rootOf(at).given
			ck, err := orbax.Open(ctx, at.Path, open)
			if err == nil {
				defer ck.Close()
				v, err = read(at, ck)
			}
			return err
		})
		if !errors.Is(err, orbax.ErrCorrupt) || ctx.Err() != nil {
			break
		}
		c.stepsOf(at).damage(at, err)
		if again, rerr := c.hasCopy(ctx, at); again && rerr == nil {
			c.log.Warn("loaded from the mirror", "step", at.Step, "error", err)
			err = nil
			continue
		}
		err = fmt.Errorf("%w (Resume takes the newest step that is intact)", err)
		break
	}
	return v, c.root.wrap(op, meant(step, at), o.end(ctx, err))
}

// meant returns the number of a step, which may be given as LatestStep. at is the step
// that was found for it, if one was.
func meant(step int, at Step) int {
	if at.Path != "" {
		return at.Step
	}
	return step
}

// loadsOptions returns the options of the Checkpointer for a load of several
// checkpointables, those without effect on it undone, followed by the options of the call.
func (c *Checkpointer) loadsOptions(options []orbax.LoadCheckpointablesOption, undone ...orbax.LoadCheckpointablesOption) []orbax.LoadCheckpointablesOption {
	return slices.Concat(c.options.LoadOptions, c.groupLoad(), undone, options)
}

// loadOptions is loadsOptions for a load of one checkpointable.
func (c *Checkpointer) loadOptions(options []orbax.LoadOption, undone ...orbax.LoadCheckpointablesOption) []orbax.LoadOption {
	return append(config.Convert[orbax.LoadOption](c.loadsOptions(nil, undone...)), options...)
}

// undo is an option that undoes options before it.
type undo func(*config.Load)

func (o undo) ApplyLoad(c *config.Load) { o(c) }
func (o undo) ForCheckpointables()      {}

// noTarget undoes the options about filling a target.
var noTarget = undo(func(c *config.Load) {
	c.Handler.Cast, c.Handler.PadOrTruncate, c.Handler.Partial = false, false, false
})

// noLoad undoes all options that only a load has.
var noLoad = undo(func(c *config.Load) {
	noTarget(c)
	c.Reports, c.Progress, c.Together = nil, nil, false
})

// Load reads a step, which may be [LatestStep], as it was saved; see [orbax.Load]. If the
// step is damaged, Load reports that and loads no other step; [Checkpointer.Resume] does.
// In a group every load fails in all processes if it fails in one.
func (c *Checkpointer) Load(ctx context.Context, step int, options ...orbax.LoadOption) (any, error) {
	all := c.loadOptions(options, noTarget)
	return with(ctx, c, "load", step, all, func(_ Step, ck *orbax.Checkpoint) (any, error) {
		return ck.Load(ctx, all...)
	})
}

// LoadInto reads a step into target; see [orbax.LoadInto].
func (c *Checkpointer) LoadInto(ctx context.Context, step int, target any, options ...orbax.LoadOption) error {
	all := c.loadOptions(options)
	_, err := with(ctx, c, "load", step, all, func(_ Step, ck *orbax.Checkpoint) (any, error) {
		return nil, ck.LoadInto(ctx, target, all...)
	})
	return err
}

// LoadAbstract reads the leaves of a step that abstract describes; see
// [orbax.LoadAbstract]. In a group, leaves with a sharding become the shards of this
// process; see [github.com/go-orbax/orbax/multihost.Together].
func (c *Checkpointer) LoadAbstract(ctx context.Context, step int, abstract any, options ...orbax.LoadOption) (any, error) {
	all := c.loadOptions(options)
	return with(ctx, c, "load", step, all, func(_ Step, ck *orbax.Checkpoint) (any, error) {
		return ck.LoadAbstract(ctx, abstract, all...)
	})
}

// LoadCheckpointables reads several checkpointables of a step; see
// [orbax.LoadCheckpointables].
func (c *Checkpointer) LoadCheckpointables(ctx context.Context, step int, targets map[string]any, options ...orbax.LoadCheckpointablesOption) (map[string]any, error) {
	all := c.loadsOptions(options)
	if !hasTarget(targets) {
		all = c.loadsOptions(options, noTarget)
	}
	return with(ctx, c, "load", step, all, func(_ Step, ck *orbax.Checkpoint) (map[string]any, error) {
		return ck.LoadCheckpointables(ctx, targets, all...)
	})
}

func hasTarget(targets map[string]any) bool {
	for _, target := range targets {
		if target != nil {
			return true
		}
	}
	return false
}

// Metadata describes a step and the pytree that Load would load; see [orbax.Metadata].
func (c *Checkpointer) Metadata(ctx context.Context, step int, options ...orbax.LoadOption) (*CheckpointMetadata, error) {
	all := c.loadOptions(options, noLoad)
	return with(ctx, c, "metadata", step, all, func(at Step, ck *orbax.Checkpoint) (*CheckpointMetadata, error) {
		m, err := ck.Metadata(ctx, all...)
		if err != nil {
			return nil, err
		}
		return &CheckpointMetadata{m, at.Step, at.Time}, nil
	})
}

// CheckpointablesMetadata describes a step and all its checkpointables; see
// [orbax.CheckpointablesMetadata].
func (c *Checkpointer) CheckpointablesMetadata(ctx context.Context, step int, options ...orbax.LoadCheckpointablesOption) (*CheckpointMetadata, error) {
	all := c.loadsOptions(options, noLoad)
	return with(ctx, c, "metadata", step, all, func(at Step, ck *orbax.Checkpoint) (*CheckpointMetadata, error) {
		m, err := ck.CheckpointablesMetadata(ctx, all...)
		if err != nil {
			return nil, err
		}
		return &CheckpointMetadata{m, at.Step, at.Time}, nil
	})
}

// Resume reads the newest intact step into target, as [Checkpointer.LoadInto] does, and
// returns its number, or -1 with an error.
//
// If Resume finds that a step is damaged, it logs that and reads the step before it. The
// damaged step stays until the run comes to its number again, and that save replaces it,
// in either mode of [orbax.Atomicity]. The same holds for the remains of a dead save that
// commits by a marker, and for those of an interrupted copy if a document of the step is
// among them. If a load fails for another reason, such as a target that does not
// fit, Resume returns that error. In a group all processes load the same step: one that
// none of them has found damaged.
//
// Without [orbax.Name] Resume reads the pytree "state", or the only pytree of the step,
// and a Save without Name then keeps that name. If there are several pytrees and none is
// called "state", the error matches orbax.ErrStructure: pass a Name to both.
//
// In an object store a step that another program overwrites is incomplete for a moment.
// Then, and if that program has died until its claim has ended, the error matches
// orbax.ErrBusy: Resume goes on from no older step.
//
// If there are no steps the error matches orbax.ErrNotExist: this is a new run. If all
// steps are damaged the error does not match it, and describes the damage to each.
func (c *Checkpointer) Resume(ctx context.Context, target any, options ...orbax.LoadOption) (step int, err error) {
	all := c.loadOptions(options)
	named := config.NewLoad(all).Name != ""
	return resume(ctx, c, all, func(ck *orbax.Checkpoint) error {
		if !named {
			if _, err := mainTree(ctx, ck); err != nil {
				return err
			}
		}
		return ck.LoadInto(ctx, target, all...)
	})
}

// ResumeCheckpointables is [Checkpointer.Resume] for several checkpointables. targets has
// the target for each, and must have at least one. A stateful object may be loaded more
// than once.
func (c *Checkpointer) ResumeCheckpointables(ctx context.Context, targets map[string]any, options ...orbax.LoadCheckpointablesOption) (step int, err error) {
	if len(targets) == 0 {
		return noStep, c.root.wrap("resume", noStep, fmt.Errorf("%w: there are no targets to load into", fault.ErrStructure))
	}
	all := c.loadsOptions(options)
	return resume(ctx, c, all, func(ck *orbax.Checkpoint) error {
		_, err := ck.LoadCheckpointables(ctx, targets, all...)
		return err
	})
}
