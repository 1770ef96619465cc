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
	"github.com/go-orbax/orbax/storage"
)

// reader lists the steps of a root, for programs that need the newest one. It opens no
// more steps than necessary, and opens none again that has not changed.
type reader struct {
	root
	options ReadOptions
	sound   Step               // the newest step that was intact, and loaded
	entry   storage.Info       // its entry in the root
	damaged map[string]unsound // by name
}

// unsound is a damaged step that was skipped.
type unsound struct {
	modTime time.Time
	ck      Step
	loaded  bool // the damage was found by loading, which is not repeated
}

func newReader(ctx context.Context, name string, o ReadOptions) (*reader, error) {
	if err := notNegative("ReadOptions", "Interval", o.Interval); err != nil {
		return nil, err
	}
	root, err := newRoot(ctx, name, o.Store, o.StepNameFormat, openOption(*config.NewOpen(o.OpenOptions)))
	o.Logger = newLogger(o.Logger)
	return &reader{root: root, options: o}, err
}

// steps returns the steps, ascending. Those newer than the newest intact step have their
// error, that step has all fields, and older steps only their number.
func (r *reader) steps(ctx context.Context) (steps []Step, err error) {
	var last *entries
	err = r.settled(ctx, func(e *entries) (sure bool, err error) {
		last = e
		steps, sure, err = r.take(ctx, e)
		return sure, err
	})
	if errors.Is(err, errMoving) && len(steps) > 0 {
		err = nil
	}
	if err == nil && len(steps) == 0 {
		err = r.noSteps(ctx, last)
	}
	return steps, err
}

// take looks at the entries of the root. It is sure if it has found an intact step and no
// other program is removing or replacing a newer one.
func (r *reader) take(ctx context.Context, e *entries) (steps []Step, sure bool, err error) {
	found := slices.Clone(e.steps) // descending, as steps
	sound, moving := false, false
	slices.SortStableFunc(found, func(a, b candidate) int { return cmp.Compare(b.step, a.step) })
	for _, c := range found {
		last := len(steps) - 1
		again := last >= 0 && steps[last].Step == c.step // under a name with a higher rank
		if again && steps[last].Err == nil {
			continue
		}
		ck := Step{Step: c.step, Path: r.path(c.info.Name)}
		if !sound {
			ck, err = r.look(ctx, c)
			moving = moving || isMoving(ck, err)
			if isNoCheckpoint(err) {
				continue
			} else if err != nil {
				return nil, false, fmt.Errorf("step %d: %w", c.step, err)
			}
			sound = ck.Err == nil
		}
		if again {
			steps = steps[:last]
		}
		steps = append(steps, ck)
	}
	slices.Reverse(steps)
	return steps, sound && !moving, nil
}

// look reads all documents of a step, and loads it if the options ask for that, unless
// the outcome is known.
func (r *reader) look(ctx context.Context, c candidate) (Step, error) {
	if c.info.Name == r.entry.Name && c.info.ModTime.Equal(r.entry.ModTime) {
		return r.sound, nil
	}
	before, passed := r.damaged[c.info.Name]
	passed = passed && before.modTime.Equal(c.info.ModTime)
	if passed && before.loaded {
		return before.ck, nil
	}
	ck, err := r.inspect(ctx, c, func(ctx context.Context, ck *orbax.Checkpoint) (*orbax.CheckpointMetadata, error) {
		return ck.CheckpointablesMetadata(ctx)
	})
	loaded := err == nil && ck.Err == nil
	if loaded {
		ck, err = r.load(ctx, ck)
	}
	if err == nil && ck.Err == nil {
		r.sound, r.entry = ck, c.info
	}
	if errors.Is(ck.Err, orbax.ErrCorrupt) && ctx.Err() == nil && !passed {
		r.options.Logger.Warn("passed over", "step", ck.Step, "path", ck.Path, "error", ck.Err)
		if r.damaged == nil {
			r.damaged = map[string]unsound{}
		}
		r.damaged[c.info.Name] = unsound{c.info.ModTime, ck, loaded}
	}
	return ck, err
}

// load calls ReadOptions.Load. A step that is damaged, or that another program removes or
// replaces, gets Err.
func (r *reader) load(ctx context.Context, at Step) (Step, error) {
	if r.options.Load == nil {
		return at, nil
	}
	_, err := opened(ctx, at.Path, r.open, func(ctx context.Context, ck *orbax.Checkpoint) (any, error) {
		return nil, r.options.Load(ctx, ck)
	})
	r.called(err)
	switch {
	case r.hasMoved(ctx, at, err):
		at.Err = fmt.Errorf("%w: of step %d: %v", errMoved, at.Step, err)
	case errors.Is(err, orbax.ErrCorrupt) && ctx.Err() == nil:
		at.Err = err
	case isNoCheckpoint(err): // for example a missing checkpointable; there are steps
		return at, unfit{err}
	default:
		return at, err
	}
	return at, nil
}
