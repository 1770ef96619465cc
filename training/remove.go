package training

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/future"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/storage"
)

// retain asks the policy which steps to keep, and queues the others for removal. The
// newest intact step stays in any case.
func (c *Checkpointer) retain() error {
	most := 0
	if c.mirror != nil {
		most = c.mirror.options.MaxHeld
	}
	return c.retainHolding(most)
}

// retainHolding is retain that lets at most so many steps stay because they are not in the
// mirror yet.
func (c *Checkpointer) retainHolding(most int) error {
	c.deciding.Lock()
	defer c.deciding.Unlock()
	all := c.steps.all()
	gone, err := unwanted(c.options.Preservation, all)
	if err == nil && c.mirror != nil {
		gone, err = c.mirror.hold(all, gone, most)
	}
	if err != nil {
		return err
	}
	c.steps.doom(gone)
	for _, step := range gone {
		c.removals.add(removal{path: step.Path, step: &step})
	}
	return nil
}

// unwanted returns the steps among all, which ascend, that a policy does not keep. The
// newest intact step is not among them, and damaged ones are not.
func unwanted(policy PreservationPolicy, all []Step) ([]Step, error) {
	keep, err := preserve(policy, all, PreservationContext{Now: time.Now()})
	if err != nil {
		return nil, err
	}
	newest := true // the first intact step in this loop, which goes backwards
	var gone []Step
	for i, step := range slices.Backward(all) {
		if step.Err != nil {
			continue
		}
		if !keep[i] && !newest {
			gone = append(gone, step)
		}
		newest = false
	}
	slices.Reverse(gone)
	return gone, nil
}

// Delete removes a step, or with [orbax.Name] one of its checkpointables, whatever the
// policy says; see [orbax.Delete]. [LatestStep] is refused with orbax.ErrUsage: a number
// names the same step whatever other programs save meanwhile. Other steps keep the bytes
// that they share with it. With a mirror Delete removes the step from both roots.
func (c *Checkpointer) Delete(ctx context.Context, step int, options ...orbax.DeleteOption) error {
	o := c.ofStep("delete", step)
	settings := config.NewDelete(options)
	d, err := lead(ctx, o, "delete", c.checkDelete(step, settings), func() (d deleted, err error) {
		d.Deleted, err = c.delete(ctx, step, options)
		d.List = o.list()
		return d, err
	})
	c.steps.adopt(d.List)
	if !o.leads() {
		for _, known := range settings.Deleted {
			*known = d.Deleted
		}
	}
	return c.root.wrap("delete", step, o.end(ctx, err))
}

// deleted is the result of a deletion.
type deleted struct {
	List    listing `json:"list"`
	Deleted bool    `json:"deleted,omitempty"`
}

func (c *Checkpointer) checkDelete(step int, o *config.Delete) error {
	if err := c.checkOpen(); err != nil {
		return err
	}
	if o.Store != nil {
		return errIn
	}
	if step == LatestStep {
		return fmt.Errorf("%w: LatestStep is for what reads a step; a deletion needs its number, which Latest returns", fault.ErrUsage)
	}
	if _, err := nameOf(c.root.names, step); err != nil {
		return fmt.Errorf("%w: %v", fault.ErrNotExist, err)
	}
	return nil
}

func (c *Checkpointer) delete(ctx context.Context, step int, options []orbax.DeleteOption) (deleted bool, err error) {
	if err := c.refresh(ctx); err != nil {
		return false, err
	}
	path := c.localPath(step)
	if c.root.needsMarker() && c.removals.claims(path) {
		if err := c.removals.drain(ctx); err != nil {
			return false, err
		}
	}
	for _, i := range c.Ignored() {
		if i.Path == path {
			return false, fmt.Errorf("%w: what is there is no step: %w", fault.ErrNotExist, i.Err)
		}
	}
	if c.mirror != nil {
		deleted, err = c.deleteBoth(ctx, step, path, options)
	} else {
		err = orbax.Delete(ctx, path, append(slices.Clone(options), orbax.In(c.root.given), orbax.Deleted(&deleted))...)
	}
	if err != nil {
		return deleted, err
	}
	c.log.Info("deleted", "step", step, "path", path)
	return deleted, c.refresh(ctx)
}

// removals removes directories in the background, one after the other.
type removals struct {
	c *Checkpointer

	mu    sync.Mutex
	queue []removal
	now   string                   // the path of what is being removed, or ""
	idle  *future.Future[struct{}] // set when the queue is empty; nil if nothing runs
	// failed holds the failures that Wait or Close returns: the last one of each path,
	// and that of the policy under "".
	failed map[string]error
}

// removal is a directory to be removed: a step, or the remains of a save.
type removal struct {
	path string
	step *Step // nil for the remains of a save
	// unfinished says that the directory is in the place of a step, and is not a step
	// only as long as its save has not finished.
	unfinished bool
}

// stillThat returns the check that a removal makes once it has claimed the directory: it
// fails if another directory is there by now. It is nil for a temporary directory.
func (r *root) stillThat(which removal) func(ctx context.Context) error {
	switch {
	case which.step != nil:
		return func(ctx context.Context) error { return r.still(ctx, which.step) }
	case which.unfinished:
		return func(ctx context.Context) error {
			_, err := opened(ctx, which.path, r.open, readInfo)
			if err == nil {
				err = fmt.Errorf("%w: its save has finished", fault.ErrBusy)
			}
			if errors.Is(err, fault.ErrUnfinished) {
				err = nil
			}
			return err
		}
	}
	return nil
}

// errSpared keeps a step that the policy did not want to keep, because that decision no
// longer holds.
var errSpared = errors.New("it was changed since, or no newer step is left")

// still returns an error unless the policy's decision about a step still holds: it is the
// same step, and a newer one is intact. No other writer can replace it by then.
func (r *root) still(ctx context.Context, step *Step) error {
	now, err := r.list(ctx)
	if err != nil {
		return fmt.Errorf("%w: %v", errSpared, err)
	}
	same, newer := false, false
	for _, c := range slices.Backward(now.steps) {
		switch path := r.path(c.info.Name); {
		case c.step > step.Step && !newer:
			at, err := r.inspect(ctx, c, readInfo)
			newer = err == nil && at.Err == nil
		case path == step.Path:
			at, err := r.inspect(ctx, c, readInfo)
			same = err == nil && at.Err == nil && at.Time.Equal(step.Time)
		}
	}
	if !same || !newer {
		return errSpared
	}
	return nil
}

func (r *removals) add(which removal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, which)
	if r.idle == nil {
		r.idle = future.New[struct{}]()
		go r.run()
	}
}

func (r *removals) run() {
	for {
		r.mu.Lock()
		r.now = ""
		if len(r.queue) == 0 {
			r.idle.Set(struct{}{}, nil)
			r.idle = nil
			r.mu.Unlock()
			return
		}
		next := r.queue[0]
		r.queue, r.now = r.queue[1:], next.path
		r.mu.Unlock()
		r.remove(next)
	}
}

func (r *removals) remove(which removal) {
	log := r.c.log.With("path", which.path)
	err := r.c.root.remove(context.Background(), which)
	if which.step == nil {
		switch {
		case err == nil:
			log.Info("removed what a save has left")
		case errors.Is(err, orbax.ErrBusy): // its writer is alive
		default:
			log.Warn("what a save has left could not be removed", "error", err)
		}
		return
	}
	r.c.steps.spare(*which.step)
	if errors.Is(err, orbax.ErrBusy) || errors.Is(err, errSpared) {
		log.Debug("not removed", "step", which.step.Step, "reason", err)
		return
	}
	if err != nil {
		log.Warn("step not removed", "step", which.step.Step, "error", err)
		r.fail(which.path, fmt.Errorf("step %d could not be removed: %w", which.step.Step, err))
		return
	}
	log.Info("removed", "step", which.step.Step)
}

// remove removes a directory, if it is still the one that was to be removed.
func (r *root) remove(ctx context.Context, which removal) error {
	options := []orbax.DeleteOption{orbax.MissingOK(), orbax.In(r.given)}
	if still := r.stillThat(which); still != nil {
		options = append(options, deleteIf(still))
	}
	return r.called(parallel.Run(func() error { return orbax.Delete(ctx, which.path, options...) }))
}

// deleteIf is an option of a deletion. It is called once the target is claimed. If it
// returns an error, the target stays, and orbax.Delete returns that error.
type deleteIf func(ctx context.Context) error

func (f deleteIf) ApplyDelete(c *config.Delete) { c.Still = f }

// fail records a failure for Wait or Close.
func (r *removals) fail(path string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		r.failed = map[string]error{}
	}
	r.failed[path] = err
}

// drain waits until nothing is being removed.
func (r *removals) drain(ctx context.Context) error {
	r.mu.Lock()
	idle := r.idle
	r.mu.Unlock()
	if idle == nil {
		return nil
	}
	return idle.Wait(ctx)
}

// claims reports whether a removal has a claim of a step at path, or is about to have it: it
// removes the step, or what a save of the step has left.
func (r *removals) claims(path string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	is := func(of string) bool { return of == path || strings.HasPrefix(of, path+storage.TempMarker) }
	return is(r.now) || slices.ContainsFunc(r.queue, func(next removal) bool { return is(next.path) })
}

// areIn reports whether a removal may be what keeps a step in an exchange.
func (r *removals) areIn(all []Step) bool {
	return slices.ContainsFunc(all, func(at Step) bool { return inLiveExchange(at.Err) && r.claims(at.Path) })
}

// wait is drain that also returns the failures of removals, each once.
func (r *removals) wait(ctx context.Context) error {
	if err := r.drain(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, path := range slices.Sorted(maps.Keys(r.failed)) {
		errs = append(errs, r.failed[path])
	}
	r.failed = nil
	return errors.Join(errs...)
}

// temporaries finds the remains of saves of steps that did not finish.
func (r *removals) temporaries(ctx context.Context) error {
	c := r.c
	found, err := c.root.list(ctx)
	if err != nil {
		if errors.Is(err, orbax.ErrNotExist) {
			return nil
		}
		return err
	}
	locks := c.root.at.Store.Locks(ctx, c.root.at.Name)
	names := map[string]bool{}
	for _, f := range found.steps {
		names[f.info.Name] = true
	}
	for _, i := range c.steps.others() {
		switch {
		case !errors.Is(i.Err, fault.ErrUnfinished):
		case c.options.CleanTemporary:
			r.add(removal{path: i.Path, unfinished: true})
		default:
			c.log.Warn("a save that has died or is running owns this in the place of a step, and the store cannot say which; CleanTemporary removes it, and a save of that step replaces it if Resume has found it", "path", i.Path)
		}
	}
	for _, e := range found.others {
		of, _, temporary := strings.Cut(e.Name, storage.TempMarker)
		_, ours := storage.IsTemporary(e.Name)
		if _, isStep := stepOf(c.root.names, of); !temporary || !e.Dir || !isStep && of != layout.RootMetadataDir {
			continue
		}
		switch {
		case storage.IsReplaced(e.Name) && !names[of]:
			// This step was being replaced when the program died between two renames, on
			// a file system that cannot exchange directories.
			c.log.Warn("this is a step that was about to be replaced; rename it to have it back", "path", c.root.path(e.Name), "step", c.root.path(of))
		case ours && locks || c.options.CleanTemporary:
			r.add(removal{path: c.root.path(e.Name)})
		default:
			c.log.Warn("a save that has died or is running owns this, and the store cannot say which; CleanTemporary removes it", "path", c.root.path(e.Name))
		}
	}
	return nil
}
