package training

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/config"
)

// A run with a mirror has its steps in two roots. The list of steps has each number once:
// the step in the root of the run if that is intact or the only one, else that in the
// mirror.

// now returns the list of steps of both roots as it is known.
func (c *Checkpointer) now() stepList {
	l := c.steps.now()
	if c.mirror == nil {
		return l
	}
	return l.with(c.mirror.steps.now())
}

// with returns the steps of l and of the list of a mirror.
func (l stepList) with(mirror stepList) stepList {
	for _, at := range mirror.steps {
		at.InMirror = true
		i, both := slices.BinarySearchFunc(l.steps, at, func(a, b Step) int { return cmp.Compare(a.Step, b.Step) })
		switch {
		case !both:
			l.steps = slices.Insert(l.steps, i, at)
		case l.steps[i].Err != nil && at.Err == nil:
			l.steps[i] = at
		}
	}
	return l
}

// find returns a step of either root; LatestStep is the newest.
func (c *Checkpointer) find(step int) (Step, error) { return c.now().find(step) }

// rootOf returns the root that a step is in.
func (c *Checkpointer) rootOf(at Step) *root {
	if at.InMirror {
		return &c.mirror.root
	}
	return &c.root
}

// stepsOf returns the steps of the root that a step is in.
func (c *Checkpointer) stepsOf(at Step) *steps {
	if at.InMirror {
		return &c.mirror.steps
	}
	return &c.steps
}

// refreshAll reads both roots for a read of a step. It does not read the mirror if the
// step is intact in the root of the run.
func (c *Checkpointer) refreshAll(ctx context.Context, step int) error {
	if err := c.refresh(ctx); err != nil || c.mirror == nil {
		return err
	}
	if at, err := c.steps.find(step); err == nil && step != LatestStep && at.Err == nil {
		return nil
	}
	if err := c.mirror.steps.refresh(ctx); err != nil {
		return c.mirror.unknown(err)
	}
	return nil
}

// copies returns the steps of a list from the newest to the oldest, for Resume. A step
// that both roots have is there twice, because the one in the root of the run may turn out
// to be damaged.
func (c *Checkpointer) copies(l stepList) []Step {
	var all []Step
	for _, at := range slices.Backward(l.steps) {
		all = append(all, at)
		if other, ok := c.otherCopy(at); ok {
			all = append(all, other)
		}
	}
	return all
}

// otherCopy returns the intact step of the mirror with the number of one of the run.
func (c *Checkpointer) otherCopy(at Step) (Step, bool) {
	if c.mirror == nil || at.InMirror {
		return Step{}, false
	}
	other, err := c.mirror.steps.find(at.Step)
	other.InMirror = true
	return other, err == nil && other.Err == nil
}

// localPath is Path for the root of the run alone.
func (c *Checkpointer) localPath(step int) string {
	if at, err := c.steps.find(step); err == nil {
		return at.Path
	}
	name, err := nameOf(c.root.names, step)
	if err != nil {
		return ""
	}
	return c.root.path(name)
}

// makeRoom frees what it can on the disk of the run.
func (c *Checkpointer) makeRoom(ctx context.Context) error {
	if c.mirror != nil {
		if err := c.retainHolding(0); err != nil {
			c.log.Warn("it is not known which steps are to be removed", "error", err)
		}
	}
	return c.removals.drain(ctx)
}

// hasCopy reports whether a damaged step of the run is intact in the mirror.
func (c *Checkpointer) hasCopy(ctx context.Context, at Step) (bool, error) {
	if c.mirror == nil || at.InMirror {
		return false, nil
	}
	if err := c.mirror.steps.refresh(ctx); err != nil {
		return false, err
	}
	if _, ok := c.otherCopy(at); !ok {
		return false, nil
	}
	now, err := c.find(at.Step)
	return now.InMirror, err
}

// deleteBoth deletes a step, or a checkpointable of it, in both roots. path is that in the
// root of the run.
func (c *Checkpointer) deleteBoth(ctx context.Context, step int, path string, options []orbax.DeleteOption) (deleted bool, err error) {
	m := c.mirror
	defer m.bar(step)()
	if err := m.steps.refresh(ctx); err != nil {
		return false, m.unknown(err)
	}
	var here, there bool
	err = orbax.Delete(ctx, path, append(slices.Clone(options), orbax.In(c.root.given), orbax.Deleted(&here))...)
	at, none := m.steps.find(step)
	if none == nil && (err == nil || errors.Is(err, orbax.ErrNotExist)) {
		err = orbax.Delete(ctx, at.Path, append(slices.Clone(options), orbax.In(m.root.given), orbax.Deleted(&there))...)
		if here && errors.Is(err, orbax.ErrNotExist) {
			err = nil
		}
		err = errors.Join(err, m.steps.refresh(ctx))
	}
	for _, known := range config.NewDelete(options).Deleted {
		*known = here || there
	}
	return here || there, err
}

// bar ends the copying of a step, and prevents it until the returned function is called.
func (m *mirror) bar(step int) (release func()) {
	var under *copying
	m.update(func() {
		m.barred[step] = true
		if m.copying != nil && m.copying.step.Step == step {
			under = m.copying
		}
	})
	if under != nil {
		under.cancel()
		<-under.ended
	}
	return func() {
		m.update(func() { delete(m.barred, step) })
		m.notify()
	}
}
