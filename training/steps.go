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

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/storage"
)

// steps holds the known facts about the steps of a root. It is read again before
// everything that depends on it, because other programs may save and remove steps. Steps
// that have not changed are not opened again.
type steps struct {
	root *root

	refreshing sync.Mutex // held while the root is read

	mu      sync.Mutex
	known   map[string]known // by path, as of the last look at the root
	marks   map[string]mark  // by path
	listed  []Step           // ascending
	ignored []Ignored
	// none is the error for LatestStep if no step is listed.
	none error
	// entries has the names of the entries by path, and version is the number of the last
	// listing; see listing.
	entries map[string]string
	version int
}

// known is the result of looking at an entry.
type known struct {
	modTime time.Time
	mark    string // see candidate
	step    Step
	ignored error // reason why it is not a step
	moving  bool  // see isMoving
}

// mark holds the facts about an entry that no look at it shows.
type mark struct {
	doomed bool // it is about to be removed, and so no longer counts
	spared bool // doomed has ended since the root was last read
	// damage, if not nil, says that the step could not be loaded, as long as it is
	// unchanged.
	damage *damaged
	// passed says that Resume has skipped the step because it is damaged, and unfinished
	// that it has found something here that is no checkpoint; see passUnfinished. The run
	// saves such a step again when it comes to it.
	passed, unfinished bool
}

// damaged is the damage to a step.
type damaged struct {
	time time.Time // see Step
	err  error
}

func (s *steps) init(root *root) {
	s.root, s.none = root, fault.ErrNotExist
	s.known, s.marks = map[string]known{}, map[string]mark{}
}

// set changes the mark of an entry.
func (s *steps) set(path string, change func(*mark)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.marks[path]
	change(&m)
	s.marks[path] = m
}

// markOf returns the mark of an entry.
func (s *steps) markOf(path string) mark {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.marks[path]
}

// unchanged reports whether a time of an entry shows that it is the same as before. An
// unknown time does not.
func unchanged(before, now time.Time) bool { return !now.IsZero() && now.Equal(before) }

// lookers is the number of steps that are opened at the same time.
const lookers = 16

// refresh reads the root. A root that does not exist has no steps.
func (s *steps) refresh(ctx context.Context) error {
	s.refreshing.Lock()
	defer s.refreshing.Unlock()
	s.endSparing()
	last, err := s.read(ctx)
	if len(s.all()) > 0 {
		if errors.Is(err, errMoving) { // there are steps, and more cannot be known
			err = nil
		}
		return err
	}
	if err != nil {
		return err
	}
	none := s.root.called(s.root.noSteps(ctx, last)) // computed once, for all later calls of find
	s.mu.Lock()
	defer s.mu.Unlock()
	s.none = none
	return nil
}

// nameOf returns the name of a step in the root.
func (s *steps) nameOf(at Step) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[at.Path]
}

// endSparing makes removed steps whose removal was given up count again.
func (s *steps) endSparing() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for path, m := range s.marks {
		if m.spared = false; m == (mark{}) {
			delete(s.marks, path)
		} else {
			s.marks[path] = m
		}
	}
}

// read lists the root and looks at its entries, until that is sure. It returns the last
// listing.
func (s *steps) read(ctx context.Context) (last *entries, err error) {
	err = s.root.settled(ctx, func(e *entries) (sure bool, err error) {
		last = e
		return s.take(ctx, e)
	})
	if errors.Is(err, orbax.ErrNotExist) {
		last = new(entries)
		_, err = s.take(ctx, last)
	}
	return last, err
}

// take looks at the entries of the root. It is sure if it has found steps and no other
// program is removing or replacing one.
func (s *steps) take(ctx context.Context, e *entries) (sure bool, err error) {
	if err := s.root.finishDead(ctx, e); err != nil {
		return false, err
	}
	if err := s.root.listMarks(ctx, e); err != nil {
		return false, err
	}
	now := make([]known, len(e.steps))
	paths := make([]string, len(e.steps))
	group, gctx := parallel.WithContext(ctx)
	group.SetLimit(lookers)
	for i, c := range e.steps {
		paths[i] = s.root.path(c.info.Name)
		s.mu.Lock()
		k := s.known[paths[i]]
		s.mu.Unlock()
		if unchanged(k.modTime, c.info.ModTime) || c.mark != "" && k.mark == c.mark {
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
	s.known = make(map[string]known, len(now))
	s.listed, s.ignored, s.entries = nil, nil, map[string]string{}
	for i, k := range now {
		s.entries[paths[i]] = e.steps[i].info.Name
		sure = sure && !k.moving
		s.known[paths[i]] = k
		if last := len(s.listed) - 1; k.ignored == nil && last >= 0 && s.listed[last].Step == k.step.Step {
			k.ignored = fmt.Errorf("step %d is in %s", k.step.Step, s.listed[last].Path)
		}
		switch m := s.marks[paths[i]]; {
		case m.doomed, m.spared:
		case k.ignored != nil:
			s.ignored = append(s.ignored, Ignored{paths[i], k.ignored})
		default:
			if m.damage != nil && unchanged(m.damage.time, k.step.Time) {
				k.step.Err = cmp.Or(k.step.Err, m.damage.err)
			}
			s.listed = append(s.listed, k.step)
		}
	}
	for _, e := range e.others {
		if e.Name != layout.RootMetadataDir && !strings.Contains(e.Name, storage.TempMarker) {
			path := s.root.path(e.Name)
			s.entries[path] = e.Name
			s.ignored = append(s.ignored, Ignored{path, errNoStepName})
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
	k := known{modTime: c.info.ModTime, mark: c.mark}
	var err error
	k.step, err = s.root.inspect(ctx, c, readInfo)
	k.moving = isMoving(k.step, err)
	switch {
	case ctx.Err() != nil:
		return k, err
	case err == nil:
	case isNoCheckpoint(err), errors.Is(err, fs.ErrPermission):
		k.ignored = err
	default: // it may be a step, so the run must not continue from an older one as if it did not exist
		k.step.Err = err
	}
	if k.moving || err != nil && (!isNoCheckpoint(err) || errors.Is(err, orbax.ErrIncomplete)) {
		k.modTime, k.mark = time.Time{}, "" // so that it is looked at again
	}
	return k, nil
}

// all returns the steps, ascending. The caller may change the slice.
func (s *steps) all() []Step { return s.now().steps }

// others returns the entries that are not steps.
func (s *steps) others() []Ignored {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ignored)
}

// stepList is the list of steps at one moment.
type stepList struct {
	steps []Step // ascending
	none  error  // see steps
}

// now returns the list as it is.
func (s *steps) now() stepList {
	s.mu.Lock()
	defer s.mu.Unlock()
	return stepList{slices.Clone(s.listed), s.none}
}

// find returns the step with the given number; LatestStep is the newest.
func (s *steps) find(step int) (Step, error) { return s.now().find(step) }

func (l stepList) find(step int) (Step, error) {
	if n := len(l.steps); step == LatestStep && n > 0 {
		return l.steps[n-1], nil
	}
	for _, at := range l.steps {
		if at.Step == step {
			return at, nil
		}
	}
	if len(l.steps) == 0 {
		return Step{}, l.none
	}
	first, last := l.steps[0].Step, l.steps[len(l.steps)-1].Step
	if len(l.steps) == 1 {
		return Step{}, fmt.Errorf("%w: there is no step %d; the only one is %d", fault.ErrNotExist, step, last)
	}
	return Step{}, fmt.Errorf("%w: there is no step %d; there are %d, from %d to %d", fault.ErrNotExist, step, len(l.steps), first, last)
}

// damage records that a step could not be loaded.
func (s *steps) damage(at Step, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.listed {
		if l := &s.listed[i]; l.Path == at.Path && l.Time.Equal(at.Time) && l.Err == nil {
			l.Err = err
			m := s.marks[l.Path]
			m.damage = &damaged{l.Time, err}
			s.marks[l.Path] = m
		}
	}
}

// doom takes steps out of the list until they are removed or spared.
func (s *steps) doom(which []Step) {
	for _, step := range which {
		s.set(step.Path, func(m *mark) { m.doomed = true })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listed = slices.DeleteFunc(s.listed, func(l Step) bool { return s.marks[l.Path].doomed })
}

// isDoomed reports whether the step at path is about to be removed.
func (s *steps) isDoomed(path string) bool { return s.markOf(path).doomed }

// spare undoes doom for a step.
func (s *steps) spare(step Step) {
	s.set(step.Path, func(m *mark) { m.doomed, m.spared = false, true })
}

// pass records that the run continues from before a damaged step.
func (s *steps) pass(step Step) { s.set(step.Path, func(m *mark) { m.passed = true }) }

// replaceable reports whether a step is damaged and was skipped.
func (s *steps) replaceable(step Step) bool { return step.Err != nil && s.markOf(step.Path).passed }

// passUnfinished records what is in the place of steps and is no checkpoint, and is older
// than the run: an unfinished save by marker, the empty directory of a save that was killed
// at once, or what an interrupted copy has left. The run saves such a step again when it
// comes to it. That save looks whether anything else would be lost.
func (s *steps) passUnfinished() {
	for _, i := range s.others() {
		if (errors.Is(i.Err, fault.ErrIncomplete) || errors.Is(i.Err, fault.ErrInvalidCheckpoint)) && !errors.Is(i.Err, errNoStepName) {
			s.set(i.Path, func(m *mark) { m.unfinished = true })
		}
	}
}

// wasUnfinished reports whether Resume has found an unfinished save at path.
func (s *steps) wasUnfinished(path string) bool { return s.markOf(path).unfinished }
