package training

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/future"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// A listing of a directory does not show one moment: if one step of a root is replaced by
// another, the listing may have neither. A root is therefore read again if a listed entry
// is gone, or if nothing was listed.
const (
	// maxLooks bounds the number of readings while the root changes between them.
	maxLooks = 100
	// maxEmpty is the number of times that a root to which others write must be found
	// without steps.
	maxEmpty = 10
	// tick is the time between two readings of an unchanged root. It exceeds the
	// resolution of file times.
	tick = 20 * time.Millisecond
)

// errMoving is the error for a root whose steps come and go faster than they can be read.
var errMoving = fmt.Errorf("%w: its steps are removed faster than they are read", fault.ErrBusy)

// entries holds the entries of a root.
type entries struct {
	steps  []candidate // directories with names of steps, in the order of the steps
	others []storage.Info
	// changed is the time of the last change of the root, read after the rest; zero if it
	// is unknown.
	changed time.Time
}

// same reports whether two listings are equal, as far as they show.
func (e *entries) same(other *entries) bool {
	if len(e.steps) != len(other.steps) || len(e.others) != len(other.others) || !e.changed.Equal(other.changed) {
		return false
	}
	for i, c := range e.steps {
		if o := other.steps[i].info; c.info.Name != o.Name || !c.info.ModTime.Equal(o.ModTime) {
			return false
		}
	}
	return true
}

// settled calls look with the entries of the root until look is sure of its result, or
// the root is the same in two listings with some time between them: in maxEmpty listings
// if the store does not know times, because equal names then do not show that nothing has
// changed. It returns the error of look, or an error if the root cannot be listed or keeps
// changing.
func (r *root) settled(ctx context.Context, look func(*entries) (sure bool, err error)) error {
	var before *entries
	empty, equal := 0, 0 // consecutive readings
	for n := 1; ; n++ {
		now, err := r.list(ctx)
		if err != nil {
			return err
		}
		sure, err := look(now)
		empty++
		if len(now.steps) > 0 {
			empty = 0
		}
		equal++
		if before == nil || !before.same(now) {
			equal = 1
		}
		still := equal == maxEmpty || equal > 1 && !now.changed.IsZero()
		switch {
		case err != nil || sure || still || empty == maxEmpty:
			return err
		case n == maxLooks:
			return errMoving
		case before == nil && len(now.steps) > 0:
			// The entries are gone; others are there by now.
		default:
			if err := future.Pause(ctx, tick); err != nil {
				return err
			}
		}
		before = now
	}
}

// noSteps returns the error for a root in which no step was found. It matches
// orbax.ErrNotExist, unless an entry that may be a step cannot be read: the program must
// not take such a root for a new run.
func (r *root) noSteps(ctx context.Context, e *entries) error {
	if err := r.check(ctx); err != nil { // for example the path of a checkpoint
		return err
	}
	if err := notNew(r.ofRuns(ctx, e)); err != nil {
		return err
	}
	for _, c := range e.steps {
		err := r.unreadable(ctx, c.info.Name)
		if inExchange(err) {
			return fmt.Errorf("there are no steps, but %s is about to be one: %w", r.path(c.info.Name), err)
		}
		if err != nil {
			return fmt.Errorf("there are no steps, but %s has the name of one and cannot be read; move it away, or remove it: %w", r.path(c.info.Name), err)
		}
	}
	for _, o := range e.others {
		if of, _, temporary := strings.Cut(o.Name, storage.TempMarker); temporary {
			if _, isStep := stepOf(r.names, of); o.Dir && isStep && storage.IsReplaced(o.Name) {
				return fmt.Errorf("%w: there are no steps, but %s is one that was about to be replaced; rename it to %s to have it back",
					fault.ErrIncomplete, r.path(o.Name), of)
			}
			continue
		}
		if !o.Dir || !layout.EndsInDigit(o.Name) {
			continue
		}
		is, err := orbax.IsCheckpoint(ctx, r.path(o.Name), r.open)
		if is || errors.Is(err, orbax.ErrCorrupt) || errors.Is(err, orbax.ErrUnsupported) {
			return errNotNew{fmt.Errorf("%w: there are no steps of these names, but %s may be one of another: if it is, set the StepNameFormat of the run; if not, move it, or give it a name without a number at the end",
				fault.ErrUnsupported, r.path(o.Name))}
		}
		if err != nil && !isNoCheckpoint(err) && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, orbax.ErrLink) {
			return notNew(fmt.Errorf("%s: %w", r.path(o.Name), err))
		}
	}
	return fmt.Errorf("%w: there are no steps", fault.ErrNotExist)
}

// unreadable returns the reason why an entry with the name of a step cannot be read. It
// returns nil if the entry certainly is not a step, because it is empty or was not
// finished and never will be.
func (r *root) unreadable(ctx context.Context, name string) error {
	_, err := opened(ctx, r.path(name), r.open, readInfo)
	if err == nil || errors.Is(err, fault.ErrUnfinished) && !inExchange(err) || errors.Is(err, orbax.ErrNotExist) {
		return nil
	}
	if errors.Is(err, orbax.ErrInvalidCheckpoint) {
		inside, lerr := r.at.Join(name).List(ctx)
		if lerr == nil && len(inside) == 0 || errors.Is(lerr, fs.ErrNotExist) {
			return nil
		}
	}
	return err
}
