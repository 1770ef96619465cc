package training

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/future"
	"github.com/go-orbax/orbax/internal/save"
)

// ShouldSave reports whether the policy wants a step to be saved now, for programs that
// prepare something for the save. It is false for a step that Save would refuse because
// it is not newer than all others. ShouldSave reads nothing.
func (c *Checkpointer) ShouldSave(step int) (bool, error) {
	err := c.checkOpen()
	settings := save.NewConfig(c.options.SaveOptions)
	if err == nil && c.checkStep(step, settings) != nil {
		return false, nil
	}
	want := settings.Step.Force
	if err == nil && !want {
		want, err = c.decide(step)
	}
	return want, c.root.wrap("decide on", step, err)
}

// Save saves state, a pytree, as a step if the policy wants it; see [orbax.Save]. It
// reports whether the step was saved, which is then complete and durable. Steps that are
// no longer to be kept are removed afterwards, in the background.
//
// The pytree is called "state" unless [orbax.Name] gives another name. If the newest step
// has no "state" and only one pytree, Save keeps the name of that pytree, which
// [Checkpointer.Resume] reads. In a run of Orbax's old CheckpointManager that name is
// "default", as the manager requires. If there are several pytrees, Save fails with
// orbax.ErrStructure: pass a Name. Documents of checkpointables keep the file names that
// they have in the newest step.
//
// Whatever the policy says, Save refuses two kinds of step. A step that exists already is
// an error that matches [orbax.ErrExist]; with [orbax.Overwrite] Save replaces it, and
// the old one stays until the new one is complete. A step that is older than the newest
// is an error that matches [ErrOlderStep]; with [Force] Save saves it. Both are passed as
// options, like those of [orbax.Save].
//
// If an earlier save in the background has failed, and the program has not asked its
// [Response], Save returns that failure as an *[EarlierError], together with the outcome
// of its own step. After a failure earlier steps are as they were, and the next save is
// not affected. saved is also true with an error if that error matches
// [orbax.ErrInPlace].
//
// The state must not change before Save returns.
func (c *Checkpointer) Save(ctx context.Context, step int, state any, options ...orbax.SaveOption) (saved bool, err error) {
	options = slices.Concat(single(c.options.SaveOptions), options)
	return outcome(c.begin(ctx, step, save.NewConfig(options), func(ctx context.Context, path string, ours []orbax.SaveCheckpointablesOption) (*orbax.AsyncResponse, error) {
		options, err := c.follow(ctx, slices.Concat(single(ours), options))
		if err != nil {
			return nil, err
		}
		return nil, orbax.Save(ctx, path, state, options...)
	}))
}

// SaveAsync is [Checkpointer.Save] in the background: it returns when state has been
// copied. If another save is running, it waits for it first. Without an error the
// Response is never nil. With an *[EarlierError] there is a Response too, that of the
// save that has begun. ctx governs the whole save.
func (c *Checkpointer) SaveAsync(ctx context.Context, step int, state any, options ...orbax.SaveOption) (*Response, error) {
	options = slices.Concat(single(c.options.SaveOptions), options)
	return c.begin(ctx, step, save.NewConfig(options), func(ctx context.Context, path string, ours []orbax.SaveCheckpointablesOption) (*orbax.AsyncResponse, error) {
		options, err := c.follow(ctx, slices.Concat(single(ours), options))
		if err != nil {
			return nil, err
		}
		return orbax.SaveAsync(ctx, path, state, options...)
	})
}

// SaveCheckpointables is [Checkpointer.Save] for several checkpointables, such as a state
// and the iterator of its data; see [orbax.SaveCheckpointables].
func (c *Checkpointer) SaveCheckpointables(ctx context.Context, step int, checkpointables map[string]any, options ...orbax.SaveCheckpointablesOption) (saved bool, err error) {
	options = slices.Concat(c.options.SaveOptions, options)
	return outcome(c.begin(ctx, step, save.NewConfig(options), func(ctx context.Context, path string, ours []orbax.SaveCheckpointablesOption) (*orbax.AsyncResponse, error) {
		return nil, orbax.SaveCheckpointables(ctx, path, checkpointables, slices.Concat(ours, options)...)
	}))
}

// SaveCheckpointablesAsync is [Checkpointer.SaveCheckpointables] in the background; see
// [Checkpointer.SaveAsync].
func (c *Checkpointer) SaveCheckpointablesAsync(ctx context.Context, step int, checkpointables map[string]any, options ...orbax.SaveCheckpointablesOption) (*Response, error) {
	options = slices.Concat(c.options.SaveOptions, options)
	return c.begin(ctx, step, save.NewConfig(options), func(ctx context.Context, path string, ours []orbax.SaveCheckpointablesOption) (*orbax.AsyncResponse, error) {
		return orbax.SaveCheckpointablesAsync(ctx, path, checkpointables, slices.Concat(ours, options)...)
	})
}

// single converts options for saves of several checkpointables to options for a save of
// one.
func single(options []orbax.SaveCheckpointablesOption) []orbax.SaveOption {
	return config.Convert[orbax.SaveOption](options)
}

// newestSound returns the newest step that is not known to be damaged, or the zero Step.
func (c *Checkpointer) newestSound() Step {
	newest, _ := newestSound(c.steps.all())
	return newest
}

// outcome returns the results of a save that has ended.
func outcome(r *Response, err error) (bool, error) {
	if r == nil {
		return false, err
	}
	return r.saved, err
}

// starter starts a save with the options of the Checkpointer followed by the caller's.
// For a save that is not in the background it makes the whole save, and returns no
// response.
type starter func(ctx context.Context, path string, ours []orbax.SaveCheckpointablesOption) (*orbax.AsyncResponse, error)

// begin saves a step, or begins to, if the step is to be saved. settings are the caller's
// options. It returns a Response unless the step is refused or its save has failed.
func (c *Checkpointer) begin(ctx context.Context, step int, settings *save.Config, start starter) (*Response, error) {
	if settings.Store != nil {
		return nil, c.root.wrap("save", step, errIn)
	}
	r, err := c.accept(ctx, step, settings)
	earlier := c.unasked()
	if err == nil && !r.skipped {
		err = c.run(ctx, r, settings.Overwrite, start)
	}
	if err == nil {
		return r, earlier
	}
	if r != nil && !r.saved {
		r = nil
	}
	if earlier != nil { // the failure counts as reported, but not as an EarlierError next to a Response
		err = fmt.Errorf("%w (and %v)", err, earlier)
	}
	return r, c.root.wrap("save", step, err)
}

// accept decides whether a step is saved. If it is, accept has waited until no other save
// is running, and has taken c.turn.
func (c *Checkpointer) accept(ctx context.Context, step int, s *save.Config) (*Response, error) {
	if err := c.checkOpen(); err != nil {
		return nil, err
	}
	if err := c.checkStep(step, s); err != nil {
		return nil, err
	}
	r := &Response{step: step, ended: future.New[bool]()}
	if !s.Step.Force {
		want, err := c.decide(step)
		if err != nil {
			return nil, err
		}
		if !want {
			c.log.Debug("skipped", "step", step)
			r.skipped = true
			r.end()
			return r, nil
		}
	}
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fault.WithCause(ctx, ctx.Err())
	}
	ready := false
	defer func() {
		if !ready { // also if a policy or name format of the program has panicked
			<-c.turn
		}
	}()
	if err := c.ready(ctx, step, s); err != nil {
		return nil, err
	}
	ready = true
	return r, nil
}

// ready waits until no save is running, and checks again whether the step may be saved.
func (c *Checkpointer) ready(ctx context.Context, step int, s *save.Config) error {
	if r := c.underWay(); r != nil {
		if err := r.ended.Wait(ctx); err != nil {
			return err
		}
	}
	if err := c.checkOpen(); err != nil {
		return err
	}
	if c.steps.isDoomed(c.Path(step)) {
		if err := c.removals.drain(ctx); err != nil { // otherwise a removal could take the new step
			return err
		}
	}
	if err := c.refresh(ctx); err != nil {
		return err
	}
	return c.checkStep(step, s)
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
	for _, at := range c.steps.all() {
		switch {
		case c.steps.replaceable(at):
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
	previous := slices.DeleteFunc(c.steps.all(), func(at Step) bool { return at.Err != nil || at.Step == step })
	r := c.underWay()
	own := c.ownSave()
	for i, at := range previous {
		if at.Path == own.listed.Path && at.Time.Equal(own.listed.Time) {
			previous[i].Time = own.ended
		}
	}
	if r != nil {
		previous = append(previous, Step{Step: r.step, Path: c.Path(r.step), Time: r.began})
		slices.SortFunc(previous, func(a, b Step) int { return cmp.Compare(a.Step, b.Step) })
	}
	_, preempted := c.preemption.look()
	candidate := Step{Step: step, Path: c.Path(step), Time: time.Now()}
	return c.options.SaveDecision.ShouldSave(candidate, previous, DecisionContext{SavingInProgress: r != nil, Preempted: preempted})
}

// run makes the save of a step that has been accepted, or starts it.
func (c *Checkpointer) run(ctx context.Context, r *Response, overwrite bool, start starter) (err error) {
	defer func() { <-c.turn }()
	ctx, r.cancel = context.WithCancelCause(ctx)
	r.began = time.Now()
	c.mu.Lock()
	c.saving = r
	c.mu.Unlock()
	c.preemption.serve()

	sv := &stepSave{Response: r, path: c.Path(r.step)}
	err = errPanicked
	background := false
	defer func() {
		if !background {
			sv.returned = true
			r.markReported()
			c.finish(ctx, sv, err)
		}
	}()
	options := c.saveOptions(sv, overwrite, c.replaces(r.step))
	resp, err := start(ctx, sv.path, options)
	if err != nil || resp == nil {
		return err
	}
	background = true
	c.log.Debug("saving", "step", r.step, "path", sv.path, "blocked", time.Since(r.began))
	resp.OnComplete(func(err error) { c.finish(ctx, sv, err) })
	return nil
}

// errPanicked is the outcome of a save in which the program's code has panicked.
var errPanicked = errors.New("it has panicked")

// stepSave is a running save.
type stepSave struct {
	*Response
	path  string
	stats orbax.Stats
	// returned says that the call that asked for the save returns its outcome.
	returned bool
}

// saveOptions returns the options of a save that come from the Checkpointer. overwrite
// says that the program asks to replace the step, and damaged that the step is replaced
// because it is damaged.
func (c *Checkpointer) saveOptions(s *stepSave, overwrite, damaged bool) []orbax.SaveCheckpointablesOption {
	overwrite = overwrite || damaged
	options := []orbax.SaveCheckpointablesOption{
		orbax.In(c.root.given),
		orbax.ReuseSnapshot(&c.memory),
		orbax.Report(&s.stats),
		stepOption(func(step *save.Step) {
			step.Managed = true
			step.Like = c.newestSound().Path
			step.MakeRoom = c.removals.drain
			step.ReplaceUnfinished = c.steps.wasUnfinished(s.path)
			step.ReplaceDamaged = damaged
			step.Reuse = c.reuse(s.step)
			// A save that replaces a step shares nothing: it may replace damage, which
			// other steps may share.
			if !overwrite {
				step.Base = c.newestSound().Path
			}
		}),
	}
	if progress := c.options.Progress; progress != nil {
		options = append(options, orbax.Progress(func(stats orbax.Stats) { progress(s.step, stats) }))
	}
	if overwrite {
		options = append(options, orbax.Overwrite())
	}
	return options
}

// reuse returns how a step shares bytes with the newest intact step, or nil if it does
// not.
func (c *Checkpointer) reuse(step int) *ckdir.Reuse {
	o := c.options.Sharing
	if o.Off {
		return nil
	}
	return &ckdir.Reuse{FreshEvery: o.FreshEvery, MaxDead: o.MaxDead, Problem: func(err error) {
		c.log.Info("not shared", "step", step, "reason", err)
	}}
}

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
	ended := time.Now()
	rerr := c.refresh(context.WithoutCancel(ctx))
	if saved && rerr == nil {
		c.noteOwn(s.step, ended)
		rerr = c.retain()
	}
	if rerr != nil {
		c.log.Warn("it is not known which steps are to be removed", "error", rerr)
		c.removals.fail("", rerr)
	}
}
