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

// ReadOptions configures how a program reads the root of a run to which it saves nothing.
// The zero value suits most programs.
type ReadOptions struct {
	// Store, if not nil, is the store in which root is a name; see [orbax.In].
	Store storage.Store
	// StepNameFormat is the format of the run; nil means StandardNameFormat{}.
	StepNameFormat NameFormat
	// Interval is the time between two looks of [Watch]; 0 means a second.
	Interval time.Duration
	// Load, if not nil, reads a step before [Latest] returns it and [Watch] yields it:
	// into a target of the program, for instance with [orbax.Checkpoint.LoadInto], or all
	// of it with [orbax.Checkpoint.Verify].
	//
	// If its error matches [orbax.ErrCorrupt] the step is damaged, and the step before it
	// is tried, as by [Checkpointer.Resume]; the next load overwrites the remains of the
	// failed one in the target. If the step was removed or replaced meanwhile, the newest
	// is looked for again. Any other error is returned or yielded. A step in which Load
	// has found damage is not passed to it again as long as it is unchanged, and neither
	// is the newest step that it has read.
	//
	// The checkpoint is closed when Load returns, so it refuses [orbax.Mapped]. A server
	// that maps opens the step that is yielded: orbax.Open(ctx, step.Path).
	Load func(ctx context.Context, ck *orbax.Checkpoint) error
	// OpenOptions are the options with which steps are opened, such as
	// [orbax.FollowLinks] for a run whose steps consist of links.
	OpenOptions []orbax.OpenOption
	// Logger, unless it is nil, reports damaged steps that are skipped.
	Logger *slog.Logger
}

// Latest returns the newest step of the run at root whose documents are intact. It is for
// a program that only reads: it takes no lock, writes nothing, and may run while another
// program trains. It skips newer steps whose documents are damaged; [Steps] lists these
// too. It reads no array data, unless [ReadOptions.Load] does: then it returns the newest
// step that can be loaded.
//
// In a store that commits by marker, as object stores do, it reads only the documents of
// the checkpoint itself, because what has the marker was written as a whole: three requests.
//
// It also skips a step whose writer has died while it was exchanged for a new one, in an
// object store; the error, if there is no other, says what finishes the exchange.
//
// If the root does not exist, or has no step, the error matches [orbax.ErrNotExist]. If
// all steps are damaged, it describes the damage to the newest.
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

// Steps lists the steps of the run at root, ascending, as [Checkpointer.Checkpoints]
// does. It is for a program that only reads: it takes no lock and writes nothing. It
// reads the documents of each checkpoint, and does not call [ReadOptions.Load]. If there
// is no step the error is that of [Latest].
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

// Watch yields the newest step of the run at root, as [Latest] finds it, and then every
// newer one. It is for programs that load the model again while it is trained:
//
//	for step, err := range training.Watch(ctx, root, training.ReadOptions{}) {
//		if err != nil {
//			log.Print(err) // and go on watching
//			continue
//		}
//		reload(step.Path)
//	}
//
// Watch looks every Interval, while the loop's body is not running. Of several steps that
// were saved since the last look it yields the newest. It yields a step that has been
// overwritten again. If the step that it yielded last is removed, as when a run is rolled
// back, it yields the newest that is left, although it is older; if there is none, it
// waits. It also waits for a root that does not exist yet.
//
// An error comes with a zero Step: the root cannot be read, or all steps are damaged. An
// error is yielded once, and again when it has changed or come back. Only wrong options
// end the sequence with their error. Otherwise it ends when the loop does, or when ctx
// does, which is not an error; ctx.Err reports that.
func Watch(ctx context.Context, root string, o ReadOptions) iter.Seq2[Step, error] {
	r, err := newReader(ctx, root, o) // at once, because the program may change its directory
	return func(yield func(Step, error) bool) {
		if err != nil {
			yield(Step{}, wrap("watch", root, noStep, err))
			return
		}
		r := *r // a copy, because the sequence may be used more than once
		watch(ctx, cmp.Or(o.Interval, time.Second), func() ([]Step, error) {
			steps, err := r.steps(ctx)
			return steps, r.wrap("watch", noStep, err)
		})(yield)
	}
}

// watch calls list at once and then every interval, until ctx ends. It yields the news of
// each list.
func watch(ctx context.Context, interval time.Duration, list func() ([]Step, error)) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		var n news
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			steps, err := list()
			if ctx.Err() != nil {
				return // the results come from a list that was cut short
			}
			if step, err, is := n.in(steps, err); is && !yield(step, err) {
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

// news finds the changes in a root since the last look.
type news struct {
	reported *Step  // the last reported step
	failed   string // the last reported error, if it persists
}

// in returns the report for a root with these steps, or for an error in reading it. The
// bool is false if there is nothing new.
func (n *news) in(steps []Step, err error) (Step, error, bool) {
	// A missing file of the program, which ReadOptions.Load reports, is only fs.ErrNotExist.
	waits := errors.Is(err, fault.ErrNotExist) && !errors.As(err, new(errOfRuns))
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
	if n.reported != nil && !n.supersedes(newest, steps) {
		return Step{}, nil, false
	}
	n.reported = &newest
	return newest, nil, true
}

// supersedes reports whether newest, of these steps, is to be reported after reported: it is
// newer, was written in the place of reported, or is left after reported was removed. A step
// whose documents were damaged after it was reported is still there.
func (n *news) supersedes(newest Step, steps []Step) bool {
	switch {
	case newest.Step > n.reported.Step:
		return true
	case newest.Step == n.reported.Step:
		return newest.Path != n.reported.Path || !newest.Time.Equal(n.reported.Time)
	}
	for _, step := range steps {
		if step.Step == n.reported.Step {
			return false
		}
	}
	return true
}

// newestSound returns the newest of steps, which ascend, whose documents are intact. If
// there is none, it returns the error of the newest.
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
	if errors.Is(err, fs.ErrNotExist) { // a file in it is missing, and not the step
		err = fmt.Errorf("%w: %v", fault.ErrCorrupt, err)
	}
	return Step{}, fmt.Errorf("no step is intact; of the newest, %d: %w", last.Step, err)
}
