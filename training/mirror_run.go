package training

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/proof"
	"github.com/go-orbax/orbax/internal/replica"
	"github.com/go-orbax/orbax/storage"
)

const (
	// firstRetry and lastRetry bound the time after which a failed attempt is repeated. It
	// doubles each time.
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
	// busyRetry is lastRetry if another writer, which may be dead, has claimed a step.
	busyRetry = 5 * time.Second
)

// run copies steps until ctx ends.
func (m *mirror) run(ctx context.Context) {
	defer close(m.ended)
	for delay := time.Duration(0); ; {
		m.mu.Lock()
		asked := m.asked
		m.mu.Unlock()
		busy, err := m.pass(ctx)
		if ctx.Err() != nil {
			return
		}
		m.update(func() {
			if m.err = err; err == nil {
				m.done, m.moved = asked, time.Now()
			}
		})
		var again <-chan time.Time
		switch {
		case err != nil:
			delay = min(max(2*delay, firstRetry), lastRetry)
			if errors.Is(err, orbax.ErrBusy) {
				delay = min(delay, busyRetry)
			}
			m.log.Warn("the mirror is behind", "waiting", len(m.status().Waiting), "retry", delay, "error", err)
			again = time.After(delay)
		case busy:
			delay, again = 0, time.After(busyRetry)
		default:
			delay = 0
		}
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case <-again:
		}
	}
}

// pass makes the mirror what it is to be. It returns the first error, after it has done
// what it could. busy says that something is left to be removed because another writer has
// claimed it, which may be dead.
func (m *mirror) pass(ctx context.Context) (busy bool, err error) {
	if err := m.steps.refresh(ctx); err != nil {
		return false, m.unknown(err)
	}
	errs := []error{m.describe(ctx)}
	tried := map[string]time.Time{}
	for ctx.Err() == nil {
		at, ok, err := m.next(tried)
		if err != nil {
			errs = append(errs, err)
		}
		if err != nil || !ok {
			break
		}
		tried[at.Path] = at.Time
		if err := m.copyStep(ctx, at); err != nil {
			errs = append(errs, fmt.Errorf("step %d: %w", at.Step, m.root.called(err)))
		}
		_, err = m.retain(ctx)
		errs = append(errs, err, m.c.retain())
	}
	alive, err := m.clean(ctx) // may finish the step of a dead writer, or its removal
	errs = append(errs, err, m.steps.refresh(ctx))
	busy, err = m.retain(ctx)
	return busy || alive, errors.Join(append(errs, err)...)
}

// describe copies the metadata of the run's root, unless the mirror has some.
func (m *mirror) describe(ctx context.Context) error {
	if m.described {
		return nil
	}
	custom, err := m.c.root.readMetadata(ctx)
	if err == nil && len(custom) > 0 {
		err = m.root.writeMetadata(ctx, custom, m.log)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fault.ErrCorrupt) {
		err = nil // there is nothing to copy
	}
	m.described = err == nil
	return err
}

// copyStep copies a step to the mirror, unless the mirror has it.
func (m *mirror) copyStep(ctx context.Context, at Step) error {
	ctx, cancel := context.WithCancel(ctx)
	now := &copying{step: at, cancel: cancel, ended: make(chan struct{})}
	barred := false
	m.update(func() {
		if barred = m.barred[at.Step]; !barred {
			m.copying = now
		}
	})
	defer func() {
		cancel()
		m.update(func() { m.copying = nil })
		close(now.ended)
	}()
	if barred {
		return nil
	}
	start := time.Now()
	copied, err := m.attempt(ctx, at, now)
	switch {
	case err == nil || errors.Is(err, fault.ErrInPlace):
	case ctx.Err() != nil: // the Checkpointer is closed, or the step is deleted
		return nil
	case m.gone(ctx, at):
		m.log.Debug("not copied, because it was removed or replaced", "step", at.Step, "reason", err)
		return m.c.steps.refresh(ctx)
	case errors.Is(err, fault.ErrCorrupt):
		m.c.steps.damage(at, err)
		m.refuse(at, err)
		return nil
	case errors.Is(err, errOther), errors.Is(err, fault.ErrLink):
		m.refuse(at, err)
		return nil
	case errors.Is(err, fault.ErrExist): // it was not there before
		if err := m.steps.refresh(ctx); err != nil {
			return m.unknown(err)
		}
		there, ferr := m.steps.find(at.Step)
		if ferr == nil && inLiveExchange(there.Err) {
			return there.Err
		}
		if ferr != nil || !m.has(at, there) {
			m.refuse(at, err)
		}
		return nil
	default:
		return err
	}
	m.update(func() {
		m.same[at.Path] = at
		delete(m.replace, at.Path)
		m.moved = time.Now()
	})
	if !copied {
		return nil
	}
	if err := m.steps.refresh(ctx); err != nil {
		return m.unknown(err)
	}
	m.log.Info("copied to the mirror", "step", at.Step, "bytes", now.copied, "time", time.Since(start))
	return nil
}

// refuse records that a step is not copied.
func (m *mirror) refuse(at Step, err error) {
	err = m.c.root.called(err)
	m.log.Error("not copied to the mirror", "step", at.Step, "path", at.Path, "error", err)
	m.update(func() { m.refused[at.Path] = refusal{at, err} })
}

// errOther is the error for a step in whose place the mirror has another one.
var errOther = fmt.Errorf("%w: the mirror has another step with this number; delete one of them, or save it again with Overwrite", fault.ErrExist)

// pathOf returns the path that a step of the run has in the mirror. The error matches
// fs.ErrNotExist if the run does not have the step any more.
func (m *mirror) pathOf(at Step) (string, error) {
	if there, err := m.steps.find(at.Step); err == nil {
		return there.Path, nil
	}
	name := m.c.steps.nameOf(at)
	if name == "" {
		return "", fmt.Errorf("%s: %w", at.Path, fs.ErrNotExist)
	}
	return m.root.path(name), nil
}

// attempt copies a step, if the mirror does not have it.
func (m *mirror) attempt(ctx context.Context, at Step, now *copying) (copied bool, err error) {
	from, err := m.c.root.locate(ctx, at)
	if err != nil {
		return false, err
	}
	path, err := m.pathOf(at)
	if err != nil {
		return false, err
	}
	to, err := m.root.locate(ctx, Step{Path: path})
	if err != nil {
		return false, err
	}
	o := replica.Options{Accept: func(ctx context.Context) error { return m.verify(ctx, at) }, Moved: func(n int64) {
		m.mu.Lock()
		defer m.mu.Unlock()
		now.copied += n
		m.moved = time.Now()
	}}
	if there, err := m.steps.find(at.Step); err == nil {
		if inLiveExchange(there.Err) {
			return false, there.Err // the attempt is repeated
		}
		same, err := replica.Same(ctx, from, to)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		if same {
			return false, nil
		}
		m.mu.Lock()
		replace := m.overwrite || m.replace[at.Path]
		m.mu.Unlock()
		if !replace && !m.steps.replaceable(there) {
			return false, errOther
		}
		o.Replace = proof.Replaced(to.Store)
	}
	return true, replica.Copy(ctx, from, to, o)
}

// verify reads a step of the run as a whole. It has just been copied: damage to it is in
// the copy too.
func (m *mirror) verify(ctx context.Context, at Step) error {
	options := verifyOptions(m.c.options.LoadOptions)
	_, err := opened(ctx, at.Path, m.c.root.open, func(ctx context.Context, ck *orbax.Checkpoint) (any, error) {
		return nil, ck.Verify(ctx, options...)
	})
	return err
}

// gone reports whether a step of the run was removed or replaced.
func (m *mirror) gone(ctx context.Context, at Step) bool {
	info, err := opened(ctx, at.Path, m.c.root.open, readInfo)
	return errors.Is(err, orbax.ErrNotExist) || errors.Is(err, orbax.ErrBusy) ||
		err == nil && !info.CommitTime.IsZero() && !info.CommitTime.Equal(at.Time)
}

// retain removes the steps from the mirror that its policy does not keep. busy says that
// another writer has claimed one of them.
func (m *mirror) retain(ctx context.Context) (busy bool, err error) {
	m.c.deciding.Lock()
	gone, err := unwanted(m.options.Preservation, m.steps.all())
	m.c.deciding.Unlock()
	if err != nil || len(gone) == 0 {
		return false, err
	}
	var errs []error
	for _, at := range gone {
		if ctx.Err() != nil {
			break
		}
		err := m.root.remove(ctx, removal{path: at.Path, step: &at})
		switch {
		case err == nil:
			m.log.Info("removed from the mirror", "step", at.Step)
			m.update(func() { m.moved = time.Now() })
		case errors.Is(err, orbax.ErrBusy), errors.Is(err, errSpared):
			busy = busy || errors.Is(err, orbax.ErrBusy)
			m.log.Debug("not removed from the mirror", "step", at.Step, "reason", err)
		default:
			errs = append(errs, fmt.Errorf("step %d could not be removed from the mirror: %w", at.Step, err))
		}
	}
	return busy, errors.Join(append(errs, m.steps.refresh(ctx))...)
}

// clean removes what copies that were interrupted have left, of steps that are not to be
// copied any more: the copy of any other step does that itself. alive says that the writer
// of something may be alive.
func (m *mirror) clean(ctx context.Context) (alive bool, err error) {
	found, err := m.root.list(ctx)
	if errors.Is(err, orbax.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !m.root.at.Store.Locks(ctx, m.root.at.Name) {
		return false, nil
	}
	for _, e := range found.others {
		of, _, temporary := strings.Cut(e.Name, storage.TempMarker)
		_, ours := storage.IsTemporary(e.Name)
		step, isStep := stepOf(m.root.names, of)
		if !temporary || !ours || !isStep || m.isWaiting(step) || storage.IsReplaced(e.Name) {
			continue
		}
		if e.Dir {
			err = m.root.remove(ctx, removal{path: m.root.path(e.Name)})
		} else { // the claim of a writer; the next one undoes what that has done
			err = release(ctx, m.root.at.Join(of))
		}
		switch {
		case errors.Is(err, orbax.ErrBusy):
			alive = true
		case err != nil:
			m.log.Debug("what a copy has left stays in the mirror", "path", m.root.path(e.Name), "reason", err)
		}
	}
	return alive, nil
}

// release claims a directory and gives it up.
func release(ctx context.Context, at storage.Location) error {
	edit, err := at.Store.Edit(ctx, at.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return edit.Close()
}

func (m *mirror) isWaiting(step int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, at := range m.waiting {
		if at.Step == step {
			return true
		}
	}
	return false
}
