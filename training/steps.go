package training

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// steps holds the known facts about the steps of a root. It is read again before
// everything that depends on it, because other programs may save and remove steps. Steps
// that have not changed are not opened again.
type steps struct {
	root *root

	refreshing sync.Mutex // held while the root is read

	mu      sync.Mutex
	known   map[string]known // by name in the root
	listed  []Step           // ascending
	ignored []Ignored
	// doomed are the names of steps that are about to be removed, and so no longer count.
	doomed map[string]bool
	// spared are the names that were removed from doomed since the root was last read.
	spared map[string]bool
	// none is the error for LatestStep if no step is listed.
	none error
	// damaged are the steps that could not be loaded, by path, as long as they are
	// unchanged.
	damaged map[string]damaged
	// passed are the paths of damaged steps that Resume has skipped. unfinished are the
	// paths of unfinished saves that were in the place of a step when the run began. The
	// run saves both again when it comes to them.
	passed, unfinished map[string]bool
}

// known is the result of looking at an entry.
type known struct {
	modTime time.Time
	ck      Step
	ignored error // reason why it is not a step
	moving  bool  // see isMoving
}

// damaged is the damage to a step.
type damaged struct {
	time time.Time // see Step
	err  error
}

func (s *steps) init(root *root) {
	s.root, s.none = root, fault.ErrNotExist
	s.known, s.damaged = map[string]known{}, map[string]damaged{}
	s.doomed, s.spared, s.passed = map[string]bool{}, map[string]bool{}, map[string]bool{}
	s.unfinished = map[string]bool{}
}

// lookers is the number of steps that are opened at the same time.
const lookers = 16

// refresh reads the root. A root that does not exist has no steps.
func (s *steps) refresh(ctx context.Context) error {
	s.refreshing.Lock()
	defer s.refreshing.Unlock()
	s.mu.Lock()
	s.spared = map[string]bool{}
	s.mu.Unlock()
	var last *entries
	err := s.root.settled(ctx, func(e *entries) (sure bool, err error) {
		last = e
		return s.take(ctx, e)
	})
	if errors.Is(err, orbax.ErrNotExist) {
		last = new(entries)
		_, err = s.take(ctx, last)
	}
	if none := len(s.all()) == 0; none && err == nil {
		none := s.root.called(s.root.noSteps(ctx, last)) // computed once, for all later calls of find
		s.mu.Lock()
		defer s.mu.Unlock()
		s.none = none
	} else if !none && errors.Is(err, errMoving) {
		return nil // there are steps, and more cannot be known
	}
	return err
}

// take looks at the entries of the root. It is sure if it has found steps and no other
// program is removing or replacing one.
func (s *steps) take(ctx context.Context, e *entries) (sure bool, err error) {
	found := e.steps
	now := make([]known, len(found))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(lookers)
	for i, c := range found {
		s.mu.Lock()
		k, ok := s.known[c.info.Name]
		s.mu.Unlock()
		if ok && k.modTime.Equal(c.info.ModTime) {
			now[i] = k
			continue
		}
		group.Go(func() (err error) {
			now[i], err = s.look(gctx, c)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sure = true
	s.known = make(map[string]known, len(found))
	s.listed, s.ignored = nil, nil
	for i, k := range now {
		sure = sure && !k.moving
		name := found[i].info.Name
		s.known[name] = k
		if last := len(s.listed) - 1; k.ignored == nil && last >= 0 && s.listed[last].Step == k.ck.Step {
			k.ignored = fmt.Errorf("step %d is in %s", k.ck.Step, s.listed[last].Path)
		}
		switch {
		case s.doomed[name], s.spared[name]:
		case k.ignored != nil:
			s.ignored = append(s.ignored, Ignored{k.ck.Path, k.ignored})
		default:
			if d, ok := s.damaged[k.ck.Path]; ok && d.time.Equal(k.ck.Time) {
				k.ck.Err = cmp.Or(k.ck.Err, d.err)
			}
			s.listed = append(s.listed, k.ck)
		}
	}
	for _, e := range e.others {
		if e.Name != layout.RootMetadataDir && !strings.Contains(e.Name, storage.TempMarker) {
			s.ignored = append(s.ignored, Ignored{s.root.path(e.Name), errNoStepName})
		}
	}
	return sure && len(s.listed) > 0, nil
}

var errNoStepName = fmt.Errorf("%w: not the name of a step", fault.ErrInvalidCheckpoint)

// readInfo reads the metadata of the checkpoint itself.
func readInfo(ctx context.Context, ck *orbax.Checkpoint) (*orbax.CheckpointMetadata, error) {
	return ck.Info(ctx)
}

// look finds out whether an entry is a step.
func (s *steps) look(ctx context.Context, c candidate) (known, error) {
	k := known{modTime: c.info.ModTime}
	var err error
	k.ck, err = s.root.inspect(ctx, c, readInfo)
	k.moving = isMoving(k.ck, err)
	switch {
	case ctx.Err() != nil:
		return k, err
	case err == nil:
	case isNoCheckpoint(err), errors.Is(err, fs.ErrPermission):
		k.ignored = err
	default: // it may be a step, so the run must not continue from an older one as if it did not exist
		k.ck.Err = err
	}
	if k.moving || err != nil && (!isNoCheckpoint(err) || errors.Is(err, orbax.ErrIncomplete)) {
		k.modTime = time.Time{} // so that it is looked at again
	}
	return k, nil
}

// all returns the steps, ascending. The caller may change the slice.
func (s *steps) all() []Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.listed)
}

// others returns the entries that are not steps.
func (s *steps) others() []Ignored {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ignored)
}

// find returns the step with the given number; LatestStep is the newest.
func (s *steps) find(step int) (Step, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.listed); step == LatestStep && n > 0 {
		return s.listed[n-1], nil
	}
	for _, ck := range s.listed {
		if ck.Step == step {
			return ck, nil
		}
	}
	if len(s.listed) == 0 {
		return Step{}, s.none
	}
	first, last := s.listed[0].Step, s.listed[len(s.listed)-1].Step
	if len(s.listed) == 1 {
		return Step{}, fmt.Errorf("%w: there is no step %d; the only one is %d", fault.ErrNotExist, step, last)
	}
	return Step{}, fmt.Errorf("%w: there is no step %d; there are %d, from %d to %d", fault.ErrNotExist, step, len(s.listed), first, last)
}

// damage records that a step could not be loaded.
func (s *steps) damage(at Step, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.listed {
		if ck := &s.listed[i]; ck.Path == at.Path && ck.Time.Equal(at.Time) && ck.Err == nil {
			ck.Err = err
			s.damaged[ck.Path] = damaged{ck.Time, err}
		}
	}
}

// doom takes steps out of the list until they are removed or spared.
func (s *steps) doom(which []Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ck := range which {
		s.doomed[entryOf(ck.Path)] = true
		s.listed = slices.DeleteFunc(s.listed, func(l Step) bool { return l.Path == ck.Path })
	}
}

// isDoomed reports whether the step at path is about to be removed.
func (s *steps) isDoomed(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.doomed[entryOf(path)]
}

// spare undoes doom for a step.
func (s *steps) spare(ck Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.doomed, entryOf(ck.Path))
	s.spared[entryOf(ck.Path)] = true
}

// pass records that the run continues from before a damaged step.
func (s *steps) pass(ck Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passed[ck.Path] = true
}

// passUnfinished records what is in the place of steps and is no checkpoint, and is older
// than the run: an unfinished save by marker, the empty directory of a save that was killed
// at once, or what an interrupted copy has left. The run saves such a step again when it
// comes to it. That save looks whether anything else would be lost.
func (s *steps) passUnfinished() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.ignored {
		if (errors.Is(i.Err, fault.ErrIncomplete) || errors.Is(i.Err, fault.ErrInvalidCheckpoint)) && !errors.Is(i.Err, errNoStepName) {
			s.unfinished[i.Path] = true
		}
	}
}

// wasUnfinished reports whether Resume has found an unfinished save at path.
func (s *steps) wasUnfinished(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unfinished[path]
}

// replaceable reports whether a step is damaged and was skipped.
func (s *steps) replaceable(ck Step) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ck.Err != nil && s.passed[ck.Path]
}
