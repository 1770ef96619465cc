package training

import (
	"context"
	"slices"
	"time"

	"github.com/go-orbax/orbax/internal/replica"
)

// plan decides which steps of the run the mirror is to have and does not have yet, and
// remembers that. all are the steps of the run. The caller holds c.deciding.
//
// The policy is asked about the steps of both roots: steps that the root of the run keeps
// no longer count as well, and so do those that the mirror does not have yet.
func (m *mirror) plan(all []Step) ([]Step, error) {
	theirs := map[int]Step{}
	var union []Step
	for _, at := range m.steps.all() {
		if at.Err == nil {
			theirs[at.Step] = at
			union = append(union, at)
		}
	}
	own := map[int]Step{}
	for _, at := range all {
		if at.Err != nil {
			continue
		}
		own[at.Step] = at
		if _, both := theirs[at.Step]; !both {
			union = append(union, at)
		}
	}
	slices.SortFunc(union, func(a, b Step) int { return a.Step - b.Step })
	gone, err := unwanted(m.options.Preservation, union)
	if err != nil {
		return nil, err
	}
	for _, at := range gone {
		delete(own, at.Step)
	}
	var waiting []Step
	for _, at := range all {
		if own[at.Step].Path != at.Path {
			continue
		}
		if there, is := theirs[at.Step]; !is || !m.has(at, there) {
			waiting = append(waiting, at)
		}
	}
	return m.setWaiting(all, waiting), nil
}

// has reports whether the mirror is known to have a step; there is its own with that
// number. Two saves of a step have different times.
func (m *mirror) has(at, there Step) bool {
	if !at.Time.IsZero() && at.Time.Equal(there.Time) {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	known, is := m.same[at.Path]
	return is && known.Time.Equal(at.Time)
}

// setWaiting records which steps are waiting, and returns those that are not refused or
// being deleted. all are the steps of the run.
func (m *mirror) setWaiting(all, waiting []Step) []Step {
	sizes := map[string]int64{}
	m.mu.Lock()
	for _, at := range waiting {
		if n, known := m.sizes[at.Path]; known {
			sizes[at.Path] = n
		}
	}
	m.mu.Unlock()
	for _, at := range waiting {
		if _, known := sizes[at.Path]; known {
			continue
		}
		ctx := context.Background()
		if place, err := m.c.root.locate(ctx, at); err == nil {
			if n, err := replica.Size(ctx, place); err == nil {
				sizes[at.Path] = n
			}
		}
	}
	m.update(func() {
		for path, r := range m.refused {
			if !slices.ContainsFunc(all, func(at Step) bool { return at.Path == path && at.Time.Equal(r.step.Time) }) {
				delete(m.refused, path)
			}
		}
		waiting = slices.DeleteFunc(waiting, func(at Step) bool {
			r, refused := m.refused[at.Path]
			return m.barred[at.Step] || refused && r.step.Time.Equal(at.Time)
		})
		m.waiting, m.sizes = slices.Clone(waiting), sizes
	})
	return waiting
}

// hold returns the steps among gone, which the policy of the run does not keep, that are
// to be removed now. Those that the mirror is to have first stay, except for the oldest if
// more than most would. all are the steps of the run. The caller holds c.deciding.
func (m *mirror) hold(all, gone []Step, most int) ([]Step, error) {
	waiting, err := m.plan(all)
	if err != nil {
		return nil, err
	}
	waits := func(at Step) bool {
		return slices.ContainsFunc(waiting, func(w Step) bool { return w.Path == at.Path })
	}
	held := 0
	for _, at := range gone {
		if waits(at) {
			held++
		}
	}
	var now []Step
	for _, at := range gone { // the oldest first
		if waits(at) {
			if held <= most {
				continue
			}
			held--
			m.log.Warn("removed without a copy in the mirror", "step", at.Step, "path", at.Path, "error", m.lastError())
			m.update(func() {
				m.givenUp++
				m.waiting = slices.DeleteFunc(m.waiting, func(w Step) bool { return w.Path == at.Path })
			})
		}
		now = append(now, at)
	}
	return now, nil
}

func (m *mirror) lastError() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// next returns the newest step that waits and was not tried.
func (m *mirror) next(tried map[string]time.Time) (Step, bool, error) {
	m.c.deciding.Lock()
	defer m.c.deciding.Unlock()
	waiting, err := m.plan(m.c.steps.all())
	for _, at := range slices.Backward(waiting) {
		if before, is := tried[at.Path]; !is || !before.Equal(at.Time) {
			return at, true, err
		}
	}
	return Step{}, false, err
}
