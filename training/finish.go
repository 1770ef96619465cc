package training

import (
	"context"
	"errors"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
)

// finish records the end of a save.
func (c *Checkpointer) finish(ctx context.Context, s *stepSave, err error) {
	s.cancel(nil)
	err = c.root.called(err)
	saved := err == nil || errors.Is(err, fault.ErrInPlace)
	defer func() { // also if a policy of the program panics
		s.settle(saved, c.root.wrap("save", s.step, err))
		c.mu.Lock()
		c.saving, c.last = nil, s.Response
		c.mu.Unlock()
		s.end()
	}()
	c.reportSave(s, saved, err)
	if !saved {
		c.preemption.missed()
	}
	if rerr := c.conclude(context.WithoutCancel(ctx), s, saved, err); rerr != nil {
		c.log.Warn("it is not known which steps are to be removed", "error", rerr)
		c.removals.fail("", rerr)
	}
}

// conclude reads the root again after a save, and decides which steps are removed. If
// several processes have saved the step, the others get the new list of steps.
func (c *Checkpointer) conclude(ctx context.Context, s *stepSave, saved bool, outcome error) (err error) {
	defer func() { s.op.endSave(ctx, outcome) }()
	if s.op.leads() {
		ended := time.Now()
		err = c.refresh(ctx)
		if saved && err == nil {
			c.noteOwn(s.step, ended)
			if c.mirror != nil && s.overwrite {
				c.mirror.update(func() { c.mirror.replace[s.path] = true })
			}
			err = c.retain()
		}
		if saved && c.mirror != nil {
			c.mirror.notify()
		}
	}
	if saved {
		if err := s.op.tell(ctx, "list"); err != nil {
			c.log.Warn("the processes have not agreed on the list of steps", "step", s.step, "error", err)
		}
	}
	return err
}
