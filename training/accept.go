package training

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/future"
	"github.com/go-orbax/orbax/internal/save"
)

// accepted describes a step that is to be saved.
type accepted struct {
	List listing `json:"list"`
	// Unfinished says that the save may replace an unfinished checkpoint, and Damaged that
	// it replaces a damaged or unfinished step. Resume has passed over both.
	Unfinished bool `json:"unfinished,omitempty"`
	Damaged    bool `json:"damaged,omitempty"`
}

// accept decides whether a step is saved. If it is, accept has waited until no other save
// is running, and has taken c.turn. err is an error of the options.
func (c *Checkpointer) accept(ctx context.Context, o *operation, step int, s *save.Config, err error) (*Response, *accepted, error) {
	want, err := lead(ctx, o, "decide", cmp.Or(err, c.checkOpen()), func() (bool, error) {
		if err := c.checkStep(step, s); err != nil || s.Step.Force {
			return err == nil, err
		}
		return c.decide(step)
	})
	if err != nil {
		return nil, nil, err
	}
	r := &Response{step: step, ended: future.New[bool]()}
	if !want {
		c.log.Debug("skipped", "step", step)
		r.skipped = true
		r.end()
		return r, nil, nil
	}
	err = c.takeTurn(ctx)
	release := err == nil
	defer func() {
		if release { // also if a policy or name format of the program has panicked
			<-c.turn
		}
	}()
	if err == nil {
		err = c.waitForSave(ctx)
	}
	a, err := c.ready(ctx, o, step, s, err)
	if err != nil {
		return nil, nil, err
	}
	release = false
	return r, a, nil
}

// takeTurn takes c.turn.
func (c *Checkpointer) takeTurn(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fault.WithCause(ctx, ctx.Err())
	}
}

// waitForSave waits until no save is running.
func (c *Checkpointer) waitForSave(ctx context.Context) error {
	if r := c.underWay(); r != nil {
		if err := r.ended.Wait(ctx); err != nil {
			return err
		}
	}
	return c.checkOpen()
}

// ready checks again whether the step may be saved, now that no save is running.
func (c *Checkpointer) ready(ctx context.Context, o *operation, step int, s *save.Config, err error) (*accepted, error) {
	o.entered = true
	a, err := lead(ctx, o, "ready", err, func() (a accepted, err error) {
		path := c.localPath(step)
		if c.steps.isDoomed(path) || c.root.needsMarker() && c.removals.claims(path) {
			if err := c.removals.drain(ctx); err != nil { // otherwise a removal could take the new step, or its claim
				return a, err
			}
		}
		if err := c.refresh(ctx); err != nil {
			return a, err
		}
		return accepted{o.list(), c.steps.wasUnfinished(c.localPath(step)), c.replaces(step)}, c.checkStep(step, s)
	})
	c.steps.adopt(a.List)
	return &a, err
}

// replaces reports whether the save replaces a damaged or unfinished step that Resume has
// skipped.
func (c *Checkpointer) replaces(step int) bool {
	at, err := c.steps.find(step)
	return err == nil && c.steps.replaceable(at)
}

// checkStep refuses a step that exists already, and a step that is older than the newest.
func (c *Checkpointer) checkStep(step int, s *save.Config) error {
	if _, err := nameOf(c.root.names, step); err != nil {
		return err
	}
	newest := -1
	for _, at := range c.now().steps {
		switch {
		case c.stepsOf(at).replaceable(at):
			continue
		case at.Step == step && !s.Overwrite:
			return fmt.Errorf("%w; pass orbax.Overwrite to replace it", fault.ErrExist)
		}
		newest = max(newest, at.Step)
	}
	if r := c.underWay(); r != nil {
		if r.step == step && !s.Overwrite {
			return fmt.Errorf("%w: it is being saved", fault.ErrExist)
		}
		newest = max(newest, r.step)
	}
	if step < newest && !s.Step.Force {
		return fmt.Errorf("%w, which is %d; pass training.Force to save it nevertheless", ErrOlderStep, newest)
	}
	return nil
}

// decide asks the policy.
func (c *Checkpointer) decide(step int) (bool, error) {
	c.deciding.Lock()
	defer c.deciding.Unlock()
	previous := slices.DeleteFunc(c.now().steps, func(at Step) bool { return at.Err != nil || at.Step == step })
	r := c.underWay()
	own := c.ownSave()
	for i, at := range previous {
		if at.Path == own.listed.Path && at.Time.Equal(own.listed.Time) {
			previous[i].Time = own.ended
		}
	}
	if r != nil {
		previous = append(previous, Step{Step: r.step, Path: c.localPath(r.step), Time: r.began})
		slices.SortFunc(previous, func(a, b Step) int { return cmp.Compare(a.Step, b.Step) })
	}
	_, preempted := c.preemption.look()
	candidate := Step{Step: step, Path: c.localPath(step), Time: time.Now()}
	return c.options.SaveDecision.ShouldSave(candidate, previous, DecisionContext{SavingInProgress: r != nil, Preempted: preempted})
}
