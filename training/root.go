package training

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// root is the directory of a run.
type root struct {
	name  string           // the caller's name for it
	at    storage.Location // absolute, so that it stays right if the working directory changes
	given storage.Store    // from the caller, or nil
	names NameFormat
	open  openOption // for all steps
	// finishes says that a reading of the root finishes what dead writers have begun.
	finishes bool
}

func newRoot(ctx context.Context, name string, store storage.Store, names NameFormat, open openOption) (root, error) {
	r := root{name: name, given: store, names: names}
	if err := open.in(store); err != nil {
		return r, err
	}
	r.open = open
	if r.names == nil {
		r.names = StandardNameFormat{}
	}
	err := validate(r.names)
	if err == nil {
		r.at, err = config.Locate(ctx, store, name)
	}
	if r.at.Called = ""; store == nil {
		r.at.Called = layout.Absolute(name)
	}
	return r, err
}

// path returns the absolute path of an entry.
func (r *root) path(entry string) string { return r.at.Join(entry).Path() }

// called changes err so that it names a step in the caller's way of naming the root. err
// comes from a call that has ended, and has no other users yet.
func (r *root) called(err error) error {
	var named *orbax.Error
	if base := r.at.Path(); errors.As(err, &named) && base != r.name {
		if entry, err := filepath.Rel(base, named.Path); err == nil && filepath.IsLocal(entry) {
			named.Path = storage.Location{Called: r.name}.Join(filepath.ToSlash(entry)).Path()
		}
	}
	return err
}

// wrap is the function wrap for an error about a run.
func (r *root) wrap(op string, step int, err error) error {
	return wrap(op, r.name, step, r.called(err))
}

// candidate is a directory that has the name of a step.
type candidate struct {
	step int
	info storage.Info
	rank int // of several with one step the lowest rank counts
	// mark is the version of the step's commit mark, if the listing shows it. In a store
	// that commits by marker a step does not change as long as that is the same.
	mark string
}

// list returns the entries of the root. If the root does not exist, the error matches
// ErrNotExist.
func (r *root) list(ctx context.Context) (*entries, error) {
	infos, err := r.at.List(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		err = orbax.ErrNotExist
	}
	if err != nil {
		return nil, fault.WithCause(ctx, err)
	}
	all := new(entries)
	for _, e := range infos {
		if step, ok := stepOf(r.names, e.Name); ok && e.Dir {
			all.steps = append(all.steps, candidate{step: step, info: e, rank: nameRank(r.names, e.Name)})
		} else {
			all.others = append(all.others, e)
		}
	}
	slices.SortFunc(all.steps, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.step, b.step), cmp.Compare(a.rank, b.rank))
	})
	if timeless(infos) {
		return all, nil
	}
	info, err := r.at.Stat(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		err = orbax.ErrNotExist
	}
	all.changed = info.ModTime
	return all, fault.WithCause(ctx, err)
}

// timeless reports whether the entries of a directory show that the store does not know
// times of directories.
func timeless(entries []storage.Info) bool {
	dirs := false
	for _, e := range entries {
		if e.Dir && !e.ModTime.IsZero() {
			return false
		}
		dirs = dirs || e.Dir
	}
	return dirs
}

// listMarks adds the versions of the steps' commit marks to a listing, where the store
// commits by marker. One listing of the whole root shows all of them.
func (r *root) listMarks(ctx context.Context, e *entries) error {
	if len(e.steps) == 0 || !r.needsMarker() {
		return nil
	}
	all, err := r.at.Store.Snapshot(ctx, r.at.Name)
	if all == nil || err != nil {
		return ignoreMissing(err)
	}
	marks := r.at
	marks.Store = all
	for i := range e.steps {
		if e.steps[i].mark, err = markOf(ctx, marks.Join(e.steps[i].info.Name)); err != nil {
			return err
		}
	}
	return nil
}

// markOf returns the version of the commit mark of a step, or "" if there is none.
func markOf(ctx context.Context, step storage.Location) (string, error) {
	info, err := step.Join(layout.CommitFile).Stat(ctx)
	return info.Version, ignoreMissing(err)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// needsMarker reports whether the store of the root commits by marker.
func (r *root) needsMarker() bool { return r.at.Store.Properties().NeedsMarker() }

// inspect describes a step by its documents, which read reads. A damaged step has Err.
// The error is for an entry that is not a checkpoint (see isNoCheckpoint) or cannot be
// read.
func (r *root) inspect(ctx context.Context, c candidate,
	read func(context.Context, *orbax.Checkpoint) (*orbax.CheckpointMetadata, error)) (Step, error) {
	step := Step{Step: c.step, Path: r.path(c.info.Name), Time: c.info.ModTime}
	m, err := opened(ctx, step.Path, r.open, read)
	switch {
	case err == nil:
		step.Metrics = m.Metrics
		if !m.CommitTime.IsZero() {
			step.Time = m.CommitTime
		}
	case errors.Is(err, orbax.ErrCorrupt), errors.Is(err, orbax.ErrUnsupported), errors.Is(err, orbax.ErrBusy) && !inExchange(err), isReplaced(err):
		step.Err, err = err, nil
	}
	r.called(cmp.Or(err, step.Err))
	return step, err
}

// isMoving reports whether inspect has found that another program is removing or
// replacing the step. Its result may be outdated.
func isMoving(step Step, err error) bool {
	return errors.Is(err, orbax.ErrNotExist) || errors.Is(step.Err, orbax.ErrBusy)
}

// openOption holds the settings with which a step is opened.
type openOption config.Open

// in sets the store in which steps are opened.
func (o *openOption) in(store storage.Store) error {
	if o.Store != nil {
		return errIn
	}
	o.Store = store
	return nil
}

// errIn is the error of an option In for a step; the store belongs to the run.
var errIn = fmt.Errorf("%w: a run has one store; give it to Options.Store or ReadOptions.Store, and not to In", fault.ErrUsage)

func (o openOption) ApplyOpen(c *config.Open) { *c = config.Open(o) }

// opened opens the checkpoint at path and returns the result of read.
func opened[T any](ctx context.Context, path string, open openOption, read func(context.Context, *orbax.Checkpoint) (T, error)) (v T, err error) {
	open.OneCall = true
	ck, err := orbax.Open(ctx, path, open)
	if err != nil {
		return v, err
	}
	defer ck.Close()
	return read(ctx, ck)
}

// isNoCheckpoint reports whether an error of inspect says that there is no checkpoint.
func isNoCheckpoint(err error) bool {
	return errors.Is(err, orbax.ErrNotExist) || errors.Is(err, orbax.ErrInvalidCheckpoint) || errors.Is(err, orbax.ErrIncomplete)
}
