package training

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/config"
)

// reader lists the steps of a root, for programs that need the newest one. It opens no
// more steps than necessary, and opens none again that has not changed.
type reader struct {
	root
	options ReadOptions
	// seen are the newest intact step and the damaged steps that were skipped, by name.
	seen map[string]seen
}

// seen is the outcome of a look at a step.
type seen struct {
	modTime time.Time
	mark    string // see candidate
	step    Step
	loaded  bool // it was loaded, if the options ask for that, which is not repeated
}

// skipped reports whether the step was found damaged for the same reason as now.
func (s seen) skipped(now Step) bool {
	return s.step.Err != nil && s.step.Err.Error() == now.Err.Error()
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
		step := Step{Step: c.step, Path: r.path(c.info.Name)}
		if !sound {
			step, err = r.look(ctx, c)
			moving = moving || isMoving(step, err)
			if isNoCheckpoint(err) {
				continue
			} else if err != nil {
				return nil, false, fmt.Errorf("step %d: %w", c.step, err)
			}
			sound = step.Err == nil
		}
		if again {
			steps = steps[:last]
		}
		steps = append(steps, step)
	}
	slices.Reverse(steps)
	return steps, sound && !moving, nil
}

// look reads all documents of a step, and loads it if the options ask for that, unless
// the outcome is known.
func (r *reader) look(ctx context.Context, c candidate) (Step, error) {
	before := r.seen[c.info.Name]
	if before.loaded && unchanged(before.modTime, c.info.ModTime) {
		return before.step, nil
	}
	read := func(ctx context.Context, ck *orbax.Checkpoint) (*orbax.CheckpointMetadata, error) {
		return ck.CheckpointablesMetadata(ctx)
	}
	if r.needsMarker() { // what has the mark was written as a whole, and each look is a request
		read = readInfo
	}
	if before.loaded && r.needsMarker() { // the first look needs no mark
		mark, err := markOf(ctx, r.at.Join(c.info.Name))
		if err != nil || mark != "" && mark == before.mark {
			return before.step, err
		}
		c.mark = mark
	}
	step, err := r.inspect(ctx, c, read)
	now := seen{modTime: c.info.ModTime, mark: c.mark, loaded: err == nil && step.Err == nil}
	if now.loaded {
		// A store may not know times of directories, and most steps record their own.
		if before.loaded && now.modTime.IsZero() && unchanged(before.step.Time, step.Time) {
			return before.step, nil
		}
		step, err = r.load(ctx, step)
	}
	now.step = step
	switch {
	case err != nil:
	case step.Err == nil:
		maps.DeleteFunc(r.seen, func(_ string, s seen) bool { return s.step.Err == nil })
		r.note(c.info.Name, now)
	case errors.Is(step.Err, orbax.ErrCorrupt) && ctx.Err() == nil:
		if same := now.modTime.IsZero() || unchanged(before.modTime, now.modTime); !same || !before.skipped(step) {
			r.options.Logger.Warn("passed over", "step", step.Step, "path", step.Path, "error", step.Err)
		}
		r.note(c.info.Name, now)
	}
	return step, err
}

func (r *reader) note(name string, s seen) {
	if r.seen == nil {
		r.seen = map[string]seen{}
	}
	r.seen[name] = s
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
