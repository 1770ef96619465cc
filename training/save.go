package training

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/save"
)

// ShouldSave reports whether the policy wants a step to be saved now, for programs that
// prepare something for the save. It is false for a step that Save would refuse because
// it is not newer than all others. ShouldSave reads nothing.
func (c *Checkpointer) ShouldSave(step int) (bool, error) {
	ctx := context.Background()
	settings := save.NewConfig(c.options.SaveOptions)
	o := c.ofStep("decide on", step)
	o.decides = true
	want, err := lead(ctx, o, "decide", c.checkOpen(), func() (bool, error) {
		if c.checkStep(step, settings) != nil {
			return false, nil
		}
		if settings.Step.Force {
			return true, nil
		}
		return c.decide(step)
	})
	return want, c.root.wrap("decide on", step, o.end(ctx, err))
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
	return outcome(c.begin(ctx, step, save.NewConfig(options), func(ctx context.Context, s *stepSave, ours []orbax.SaveCheckpointablesOption) (*orbax.AsyncResponse, error) {
		options, err := c.follow(ctx, s.op, slices.Concat(single(ours), options))
		if err != nil {
			return nil, err
		}
		return nil, orbax.Save(ctx, s.path, state, options...)
	}))
}

// SaveAsync is [Checkpointer.Save] in the background: it returns when state has been
// copied. If another save is running, it waits for it first. Without an error the
// Response is never nil. With an *[EarlierError] there is a Response too, that of the
// save that has begun. ctx governs the whole save.
func (c *Checkpointer) SaveAsync(ctx context.Context, step int, state any, options ...orbax.SaveOption) (*Response, error) {
	options = slices.Concat(single(c.options.SaveOptions), options)
	return c.begin(ctx, step, save.NewConfig(options), func(ctx context.Context, s *stepSave, ours []orbax.SaveCheckpointablesOption) (*orbax.AsyncResponse, error) {
		options, err := c.follow(ctx, s.op, slices.Concat(single(ours), options))
		if err != nil {
			return nil, err
		}
		return orbax.SaveAsync(ctx, s.path, state, options...)
	})
}

// SaveCheckpointables is [Checkpointer.Save] for several checkpointables, such as a state
// and the iterator of its data; see [orbax.SaveCheckpointables].
func (c *Checkpointer) SaveCheckpointables(ctx context.Context, step int, checkpointables map[string]any, options ...orbax.SaveCheckpointablesOption) (saved bool, err error) {
	options = slices.Concat(c.options.SaveOptions, options)
	return outcome(c.begin(ctx, step, save.NewConfig(options), func(ctx context.Context, s *stepSave, ours []orbax.SaveCheckpointablesOption) (*orbax.AsyncResponse, error) {
		return nil, orbax.SaveCheckpointables(ctx, s.path, checkpointables, slices.Concat(ours, options)...)
	}))
}

// SaveCheckpointablesAsync is [Checkpointer.SaveCheckpointables] in the background; see
// [Checkpointer.SaveAsync].
func (c *Checkpointer) SaveCheckpointablesAsync(ctx context.Context, step int, checkpointables map[string]any, options ...orbax.SaveCheckpointablesOption) (*Response, error) {
	options = slices.Concat(c.options.SaveOptions, options)
	return c.begin(ctx, step, save.NewConfig(options), func(ctx context.Context, s *stepSave, ours []orbax.SaveCheckpointablesOption) (*orbax.AsyncResponse, error) {
		return orbax.SaveCheckpointablesAsync(ctx, s.path, checkpointables, slices.Concat(ours, options)...)
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
type starter func(ctx context.Context, s *stepSave, ours []orbax.SaveCheckpointablesOption) (*orbax.AsyncResponse, error)

// begin saves a step, or begins to, if the step is to be saved. settings are the caller's
// options. It returns a Response unless the step is refused or its save has failed.
func (c *Checkpointer) begin(ctx context.Context, step int, settings *save.Config, start starter) (*Response, error) {
	o := c.savingOf(step)
	r, a, err := c.accept(ctx, o, step, settings, c.checkSave(settings))
	earlier := c.unasked()
	if a != nil {
		err = c.run(ctx, o, r, a, settings.Overwrite, start)
	} else {
		o.endSave(ctx, err)
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

// checkSave refuses options that only a whole run can have.
func (c *Checkpointer) checkSave(s *save.Config) error {
	switch {
	case s.Store != nil:
		return errIn
	case s.Together:
		return errTogether
	}
	return nil
}

// run makes the save of a step that has been accepted, or starts it.
func (c *Checkpointer) run(ctx context.Context, o *operation, r *Response, a *accepted, overwrite bool, start starter) (err error) {
	defer func() { <-c.turn }()
	ctx, r.cancel = context.WithCancelCause(ctx)
	r.began = time.Now()
	c.mu.Lock()
	c.saving = r
	c.mu.Unlock()
	c.preemption.serve()

	sv := &stepSave{Response: r, op: o, path: c.localPath(r.step), overwrite: overwrite}
	err = errPanicked
	background := false
	defer func() {
		if !background {
			sv.returned = true
			r.markReported()
			c.finish(ctx, sv, err)
		}
	}()
	options := c.saveOptions(sv, a, overwrite)
	resp, err := start(ctx, sv, options)
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
	op    *operation // ends when the save has ended
	path  string
	stats orbax.Stats
	// overwrite says that the program asks to replace the step.
	overwrite bool
	// returned says that the call that asked for the save returns its outcome.
	returned bool
}

// saveOptions returns the options of a save that come from the Checkpointer. overwrite
// says that the program asks to replace the step.
func (c *Checkpointer) saveOptions(s *stepSave, a *accepted, overwrite bool) []orbax.SaveCheckpointablesOption {
	overwrite = overwrite || a.Damaged
	options := append(c.groupSave(s.op),
		orbax.In(c.root.given),
		orbax.ReuseSnapshot(&c.memory),
		orbax.Report(&s.stats),
		stepOption(func(step *save.Step) {
			step.Managed = true
			step.Like = c.newestSound().Path
			step.MakeRoom = c.makeRoom
			step.ReplaceUnfinished = a.Unfinished
			step.ReplaceDamaged = a.Damaged
			step.Reuse = c.reuse(s.step)
			// A save that replaces a step shares nothing: it may replace damage, which
			// other steps may share.
			if !overwrite {
				step.Base = c.newestSound().Path
			}
		}),
	)
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
