package training

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/storage"
)

// reader lists the steps of a root, for those who want to know of the newest. It
// opens no more of them than it must, and none again that has not changed.
type reader struct {
	root
	sound Checkpoint   // the newest that was sound
	entry storage.Info // that one's, in the root
}

func newReader(name string, o ReadOptions) (*reader, error) {
	if err := notNegative("ReadOptions", "Interval", o.Interval); err != nil {
		return nil, err
	}
	root, err := newRoot(name, o.StepNameFormat)
	return &reader{root: root}, err
}

// steps returns the steps, ascending. Of the newest that are damaged it says so,
// and of the newest that is not it tells everything; of older ones the number.
func (r *reader) steps(ctx context.Context) (steps []Checkpoint, err error) {
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

// take finds out what the entries of the root are. It is sure if it has found a step
// that is not damaged, and before it none that somebody removes or replaces.
func (r *reader) take(ctx context.Context, e *entries) (steps []Checkpoint, sure bool, err error) {
	found := slices.Clone(e.steps) // descending, as steps
	sound, moving := false, false
	slices.SortStableFunc(found, func(a, b candidate) int { return cmp.Compare(b.step, a.step) })
	for _, c := range found {
		last := len(steps) - 1
		again := last >= 0 && steps[last].Step == c.step // under a name that counts less
		if again && steps[last].Err == nil {
			continue
		}
		ck := Checkpoint{Step: c.step, Path: r.path(c.info.Name)}
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

// look reads all documents of a step, unless it is the one that was sound.
func (r *reader) look(ctx context.Context, c candidate) (Checkpoint, error) {
	if c.info.Name == r.entry.Name && c.info.ModTime.Equal(r.entry.ModTime) {
		return r.sound, nil
	}
	ck, err := r.inspect(ctx, c, func(ctx context.Context, ck *orbax.Checkpoint) (*orbax.CheckpointMetadata, error) {
		m, err := ck.CheckpointablesMetadata(ctx)
		if err == nil {
			err = m.Err()
		}
		return m, err
	})
	if err == nil && ck.Err == nil {
		r.sound, r.entry = ck, c.info
	}
	return ck, err
}
