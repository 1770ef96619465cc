package training

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// ReadOptions says how a program reads the root of a run in which it saves nothing. The
// zero value serves most.
type ReadOptions struct {
	// Store, if not nil, is the one in which the root is a name; see orbax.In.
	Store storage.Store
	// StepNameFormat is that of the run; StandardNameFormat{} if nil.
	StepNameFormat NameFormat
	// Interval is how often Watch looks; a second if 0.
	Interval time.Duration
	// Load, if not nil, reads what the program wants of a step, before Latest
	// returns it and Watch yields it: into a target of the program's, with
	// [orbax.Checkpoint.LoadInto] for instance, or all of it with
	// [orbax.Checkpoint.Verify]. If its error matches orbax.ErrCorrupt the step is
	// damaged, and the one before it is tried, as [Checkpointer.Resume] does; what a
	// failed load has left in a target the next one overwrites. If the step was
	// removed or replaced meanwhile, the newest is looked for again. Any other error
	// is returned or yielded. A step in which Load has found damage is not given to it
	// again while it is as it was, nor is the newest that it has read.
	// The checkpoint is closed when Load returns, so it refuses [orbax.Mapped]; a server
	// that maps opens the step that is yielded: orbax.Open(ctx, step.Path).
	Load func(ctx context.Context, ck *orbax.Checkpoint) error
	// OpenOptions are those with which steps are opened, such as [orbax.FollowLinks]
	// for a run that its owner has put together of links.
	OpenOptions []orbax.OpenOption
	// Logger reports which damaged steps are passed over, unless it is nil.
	Logger *slog.Logger
}

// Latest returns the newest step of the run at root whose documents are intact,
// for a program that only reads: it takes no lock, writes nothing, and may run
// beside the program that trains. A newer step whose documents are damaged is
// passed over; [Steps] lists those too. Array data is not read unless
// ReadOptions.Load does it: then the step is the newest that can be loaded.
//
// If the root does not exist, or has no step, the error matches orbax.ErrNotExist.
// If it has damaged ones alone, it says what is wrong with the newest.
func Latest(ctx context.Context, root string, o ReadOptions) (Step, error) {
	r, err := newReader(ctx, root, o)
	if err != nil {
		return Step{}, wrap("latest", root, noStep, err)
	}
	steps, err := r.steps(ctx)
	if err != nil {
		return Step{}, r.wrap("latest", noStep, err)
	}
	newest, err := newestSound(steps)
	return newest, r.wrap("latest", noStep, err)
}

// Steps lists the steps of the run at root, ascending, as
// [Checkpointer.Checkpoints] does, for a program that only reads: it takes no lock
// and writes nothing. Of each it reads what the checkpoint says of itself;
// ReadOptions.Load is not called. If there is none the error is that of [Latest].
func Steps(ctx context.Context, root string, o ReadOptions) ([]Step, error) {
	r, err := newReader(ctx, root, o)
	if err != nil {
		return nil, wrap("list", root, noStep, err)
	}
	var s steps
	s.init(&r.root)
	if err = s.refresh(ctx); err == nil {
		_, err = s.find(LatestStep)
	}
	if err != nil {
		return nil, r.wrap("list", noStep, err)
	}
	return s.all(), nil
}

// Watch yields the newest step of the run at root, as Latest finds it, and then
// every newer one, for programs that load the model anew as it is trained:
//
//	for ck, err := range training.Watch(ctx, root, training.ReadOptions{}) {
//		if err != nil {
//			log.Print(err) // and go on watching
//			continue
//		}
//		reload(ck.Path)
//	}
//
// It looks every Interval, while the loop's body is not running: of several steps
// that were saved since the last look it yields the newest. A step that has been
// overwritten is yielded again. If the step that was yielded last is removed, as
// when a run is rolled back, the newest that is left is yielded, though it is
// older; while there is none it waits. It waits for a root that does not exist yet.
//
// An error comes with a zero Step: the root cannot be read, or all steps are
// damaged. It is yielded once, and again when it has changed or come back. Only
// options that are wrong end the sequence with their error. Otherwise it ends when
// the loop does or when ctx does, which is no error; ctx.Err reports that.
func Watch(ctx context.Context, root string, o ReadOptions) iter.Seq2[Step, error] {
	r, err := newReader(ctx, root, o) // now: the program may change its directory
	return func(yield func(Step, error) bool) {
		if err != nil {
			yield(Step{}, wrap("watch", root, noStep, err))
			return
		}
		r := *r // the sequence may be read more than once
		watch(ctx, cmp.Or(o.Interval, time.Second), func() ([]Step, error) {
			steps, err := r.steps(ctx)
			return steps, r.wrap("watch", noStep, err)
		})(yield)
	}
}

// watch yields what news finds each time that list is called, which is at once
// and then every interval, until ctx ends.
func watch(ctx context.Context, interval time.Duration, list func() ([]Step, error)) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		var n news
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			steps, err := list()
			if ctx.Err() != nil {
				return // whatever was found is the work of a list that was cut short
			}
			if ck, err, is := n.in(steps, err); is && !yield(ck, err) {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}
}

// news finds out what has happened in a root since it was last looked at.
type news struct {
	told   *Step  // the last that was told
	failed string // the error that was told, if it lasts
}

// in returns what is to be told when a root has these steps, or reading it has
// failed, if that is anything new.
func (n *news) in(steps []Step, err error) (Step, error, bool) {
	waits := errors.Is(err, fs.ErrNotExist) && !errors.As(err, new(errOfRuns))
	if waits || err == nil && len(steps) == 0 {
		n.failed = ""
		return Step{}, nil, false // there is no root yet, or no step
	}
	var newest Step
	if err == nil {
		newest, err = newestSound(steps)
	}
	if err != nil {
		is := err.Error() != n.failed
		n.failed = err.Error()
		return Step{}, err, is
	}
	n.failed = ""
	if n.told != nil && !n.supersedes(newest, steps) {
		return Step{}, nil, false
	}
	n.told = &newest
	return newest, nil, true
}

// supersedes reports whether newest, of these steps, is to be told after what
// was: it is newer, or was written in its place, or is what was left when it was
// removed. A step whose documents were damaged after it was told is still there.
func (n *news) supersedes(newest Step, steps []Step) bool {
	switch {
	case newest.Step > n.told.Step:
		return true
	case newest.Step == n.told.Step:
		return newest.Path != n.told.Path || !newest.Time.Equal(n.told.Time)
	}
	for _, ck := range steps {
		if ck.Step == n.told.Step {
			return false
		}
	}
	return true
}

// newestSound returns the newest of steps, which ascend, whose documents are in
// order. Where there are only others it says what is wrong with the newest.
func newestSound(steps []Step) (Step, error) {
	for i := len(steps) - 1; i >= 0; i-- {
		if steps[i].Err == nil {
			return steps[i], nil
		}
	}
	if len(steps) == 0 {
		return Step{}, fmt.Errorf("it has no steps: %w", fault.ErrNotExist)
	}
	last := steps[len(steps)-1]
	err := last.Err
	if errors.Is(err, fs.ErrNotExist) { // a file in it, and not the step
		err = fmt.Errorf("%w: %v", fault.ErrCorrupt, err)
	}
	return Step{}, fmt.Errorf("no step is intact; of the newest, %d: %w", last.Step, err)
}
