package training

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/save"
)

// Checkpointer saves and loads the steps of one run. Several goroutines may call its
// methods. Several Checkpointers, in one program or in several, and those of Orbax in
// Python, may work on one root: no step is ever overwritten by accident.
//
// A Checkpointer saves one step at a time. A save that is accepted while another runs
// waits for it.
type Checkpointer struct {
	options    Options
	group      *coord.Group // nil if this process is alone
	root       root
	steps      steps
	log        *slog.Logger
	preemption *preemption
	memory     orbax.SnapshotMemory // for saves in the background
	removals   removals
	mirror     *mirror // nil if the run has none

	deciding sync.Mutex // held during calls of a policy

	// turn holds a value while a save is being started.
	turn chan struct{}

	mu     sync.Mutex
	saving *Response // the running save
	last   *Response // the last save that has ended
	own    ownSave
	ahead  map[string]time.Time // times in the future that were logged, by path
	closed bool
}

// ownSave is the last step that this Checkpointer has saved.
type ownSave struct {
	listed Step
	// ended is the time at which the save had ended, by the monotonic clock.
	ended time.Time
}

func (c *Checkpointer) ownSave() ownSave {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.own
}

func (c *Checkpointer) noteOwn(step int, ended time.Time) {
	if at, err := c.steps.find(step); err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.own = ownSave{at, ended}
	}
}

// LatestStep means the newest step in methods that read one, and in [Checkpointer.Path].
// Saves and deletions need the number of a step; [Checkpointer.Latest] returns the newest
// step with its number.
const LatestStep = -1

// errClosed is the error of all methods after Close.
var errClosed = fmt.Errorf("the Checkpointer is closed: %w", fs.ErrClosed)

// New returns a [Checkpointer] of the run at root, which need not exist yet. It reads the
// list of steps, and begins to remove, in the background, the remains of saves whose
// programs have died; see [Options.CleanTemporary]. The program must call Close when the
// run ends.
//
// A program with a wrong directory would start from nothing next to its run. Therefore
// New refuses a root without steps in these cases:
//
//   - The root holds runs, and neither a temporary directory of a step nor metadata of a
//     run: the error matches [orbax.ErrInvalidCheckpoint] and names the runs.
//     [Options.RunsInside] accepts such a root. A directory in it counts as a run if it
//     is not itself a checkpoint and has a subdirectory that is a checkpoint and whose
//     name ends in a digit. The format of the names does not matter. New looks into 32
//     directories at most.
//   - The root holds a checkpoint whose name ends in a digit and does not fit
//     [Options.StepNameFormat]. It may be a step, and the error matches
//     [orbax.ErrUnsupported]. If an export is in the root before the first step, call it
//     model or model_v1_final, and not model_1.
//   - Looking into the root fails: New returns that error. It skips entries that the
//     program has no permission to read.
//
// In an object store New, and each later reading of the root, first finishes what dead
// programs have begun to exchange or to remove. If the run has no intact step, and one in an
// exchange whose writer may be alive, the error matches [orbax.ErrBusy] and says when to try
// again.
//
// With [Options.Mirror] New reads the list of steps of the mirror too, refuses its root in
// the same cases, and fails if it cannot be read, because it may have a newer step.
//
// New also refuses the directory of a run's metadata. Anything else may be in a root, for
// instance exports, arrays and logs, and runs and checkpoints of any name once the root
// has a step. For [Latest], [Steps] and [Watch] a directory of runs has no steps; their
// error names the runs.
func New(ctx context.Context, root string, o Options) (*Checkpointer, error) {
	c, err := newCheckpointer(ctx, root, o)
	if err != nil {
		return nil, wrap("open", root, noStep, err)
	}
	return c, nil
}

func newCheckpointer(ctx context.Context, name string, o Options) (*Checkpointer, error) {
	o.setDefaults()
	c := &Checkpointer{options: o, group: o.group(), log: o.Logger.With("root", name), turn: make(chan struct{}, 1), ahead: map[string]time.Time{}}
	c.removals.c = c
	op := c.operation("open the run")
	l, err := lead(ctx, op, "open", c.setUp(ctx, name), func() (listing, error) {
		if err := c.prepare(ctx); err != nil {
			return listing{}, err
		}
		return op.list(), nil
	})
	if err = op.end(ctx, err); err != nil {
		return nil, err
	}
	c.steps.adopt(l)
	c.preemption = newPreemption(&c.options)
	if c.mirror != nil {
		c.mirror.begin()
	}
	return c, nil
}

// setUp checks the options.
func (c *Checkpointer) setUp(ctx context.Context, name string) error {
	o := &c.options
	loads := config.NewLoad(o.LoadOptions)
	if loads.Mapping != config.MapNothing {
		return fmt.Errorf("%w: LoadOptions have Mapped, and the loads of a Checkpointer close the step that they open; use Open and a method of the Checkpoint", orbax.ErrUsage)
	}
	together := o.together()
	switch {
	case o.Together != nil && !together.Together:
		return errNotTogether
	case loads.HandOver || together.HandOver:
		return errHandOver
	}
	if err := c.checkSave(save.NewConfig(o.SaveOptions)); err != nil {
		return err
	}
	root, err := newRoot(ctx, name, o.Store, o.StepNameFormat, openOption(loads.Open))
	if err := errors.Join(err, validate(o.SaveDecision), validate(o.Preservation), validate(o.Sharing)); err != nil {
		return err
	}
	c.root = root
	c.root.finishes = true
	c.steps.init(&c.root)
	c.mirror, err = newMirror(ctx, c, openOption(loads.Open))
	return err
}

// prepare reads the root, writes its metadata, and begins to remove the remains of saves.
func (c *Checkpointer) prepare(ctx context.Context) error {
	if err := c.root.check(ctx); err != nil {
		return err
	}
	if err := c.refresh(ctx); err != nil {
		return err
	}
	if err := mayBegin(&c.steps, c.options.RunsInside); err != nil {
		return err
	}
	custom := c.options.CustomMetadata
	if c.mirror != nil {
		theirs, err := c.mirror.prepare(ctx)
		if err != nil {
			return err
		}
		if len(theirs) > 0 {
			custom = theirs
		}
	}
	if err := c.now().onlyExchanges(); err != nil {
		return err
	}
	if err := c.root.writeMetadata(ctx, custom, c.log); err != nil {
		return err
	}
	return c.removals.temporaries(ctx)
}

// refresh reads the list of steps, and logs ignored entries that are new.
func (c *Checkpointer) refresh(ctx context.Context) error {
	before := map[string]bool{}
	for _, i := range c.Ignored() {
		before[i.Path] = true
	}
	err := c.steps.refresh(ctx)
	if err == nil && c.removals.areIn(c.steps.all()) { // what looks like another writer is this program
		if err = c.removals.drain(ctx); err == nil {
			err = c.steps.refresh(ctx)
		}
	}
	if err != nil {
		return err
	}
	for _, i := range c.Ignored() {
		if !before[i.Path] {
			c.log.Warn("not a step", "path", i.Path, "reason", i.Err)
		}
	}
	c.reportAhead(time.Now())
	return nil
}

// slack is the difference between clocks of different computers that is not reported.
const slack = time.Minute

// reportAhead logs steps whose time lies in the future. The policies of this package
// ignore such a time.
func (c *Checkpointer) reportAhead(now time.Time) {
	for _, step := range c.steps.all() {
		if step.Err != nil || !step.Time.After(now.Add(slack)) {
			continue
		}
		c.mu.Lock()
		known := c.ahead[step.Path].Equal(step.Time)
		c.ahead[step.Path] = step.Time
		c.mu.Unlock()
		if known {
			continue
		}
		c.log.Warn("the time of this step lies in the future: a clock was or is wrong; the step counts as saved before now",
			"path", step.Path, "time", step.Time, "now", now)
	}
}

// Root returns the root that was passed to [New].
func (c *Checkpointer) Root() string { return c.root.name }

// Path returns the path at which a step is, or at which it would be saved. For
// [LatestStep] it returns the path of the newest step, or "" if there is none. For a
// number that cannot be a step it returns "". The path is for the functions of package
// orbax.
func (c *Checkpointer) Path(step int) string {
	if at, err := c.find(step); err == nil {
		return at.Path
	}
	return c.localPath(step)
}

// Checkpoints returns the complete steps, ascending, as they were when the root was last
// read. [New], Reload, and every save and load of this Checkpointer read it. The steps of a
// mirror are among them; see [Step.InMirror]. No save reads the mirror again.
func (c *Checkpointer) Checkpoints() []Step { return c.now().steps }

// Latest returns the newest of [Checkpointer.Checkpoints], or false if there is none.
func (c *Checkpointer) Latest() (Step, bool) {
	newest, err := c.find(LatestStep)
	return newest, err == nil
}

// Ignored returns the entries of the root that are not steps, with the reasons. It leaves
// out the metadata of the root and temporary directories.
func (c *Checkpointer) Ignored() []Ignored { return c.steps.others() }

// Reload reads the root again, to see the changes of other programs.
func (c *Checkpointer) Reload(ctx context.Context) error {
	o := c.operation("reload")
	_, err := o.reread(ctx, "list", c.checkOpen())
	return c.root.wrap("reload", noStep, o.end(ctx, err))
}

// Preempted reports whether the program is about to be ended; see [Options.Preempted]. A
// loop that calls it before a save can end after that save:
//
//	ended = ckpts.Preempted()
//	_, err = ckpts.SaveAsync(ctx, step, state)
//
// In a group of processes Preempted returns the same in all of them: whether the notice had
// come to one of them when they last asked whether to save, in a save or in ShouldSave.
// There a loop calls it after the save, because that save is already the one for the
// notice:
//
//	_, err = ckpts.SaveAsync(ctx, step, state)
//	ended = ckpts.Preempted()
//
// A [PreemptionCheckpointingPolicy] wants the first save after Preempted has become true,
// even if a step was saved for the notice before.
func (c *Checkpointer) Preempted() bool { return c.preemption.noticed() }

// SavingInProgress reports whether a step is being saved. For a moment it may differ
// between the processes of a group.
func (c *Checkpointer) SavingInProgress() bool { return c.underWay() != nil }

func (c *Checkpointer) underWay() *Response {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.saving
}

// Cancel ends the running save, if there is one, and waits until its files are removed. In
// a group it ends the save of all processes.
// The Result of that save is an error that matches [context.Canceled], unless the save
// was complete before.
func (c *Checkpointer) Cancel() {
	if r := c.underWay(); r != nil {
		r.Cancel()
	}
}

// canceled is the cause with which Cancel ends a save. Its text reads well after that of
// context.Canceled.
type canceled struct{}

func (canceled) Error() string { return "canceled by the Checkpointer" }

func (canceled) Unwrap() error { return context.Canceled }

// Wait waits until no save is running and all removals have ended. It returns the failure
// of the last save, as an *[EarlierError], unless the program has it already, and the
// errors of removals.
func (c *Checkpointer) Wait(ctx context.Context) error {
	o := c.operation("wait")
	return c.root.wrap("wait", noStep, c.wait(ctx, o))
}

func (c *Checkpointer) wait(ctx context.Context, o *operation) error {
	var err error
	if r := c.underWay(); r != nil {
		err = r.ended.Wait(ctx)
	}
	waited := err == nil
	_, err = lead(ctx, o, "wait", err, func() (struct{}, error) { return struct{}{}, c.removals.wait(ctx) })
	if err = o.end(ctx, err); !waited {
		return err
	}
	return errors.Join(c.unasked(), err)
}

// Close waits as [Checkpointer.Wait] does, returns the same, and releases the resources
// of the Checkpointer. It also waits for the mirror, as [Mirror.Patience] says, and returns
// an error if steps are missing there. After Close every method that reads or writes the root fails with
// an error that matches [fs.ErrClosed]. Wait and Close may be called again, and the
// methods that read nothing, such as Checkpoints and Path, still work.
func (c *Checkpointer) Close() error {
	o := c.operation("close")
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.turn <- struct{}{} // held by a save that is being started
	<-c.turn
	err := c.wait(context.Background(), o)
	if c.mirror != nil {
		err = errors.Join(err, c.mirror.close(), c.removals.wait(context.Background()))
	}
	c.preemption.stop()
	c.memory.Free()
	return c.root.wrap("close", noStep, err)
}

func (c *Checkpointer) checkOpen() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	return nil
}

// unasked returns the failure of the last save unless the program has it already.
func (c *Checkpointer) unasked() error {
	c.mu.Lock()
	last := c.last
	c.mu.Unlock()
	if last == nil {
		return nil
	}
	return last.unasked()
}
