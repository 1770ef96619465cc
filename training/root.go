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
	name  string           // as the caller calls it
	at    storage.Location // called by a path that stays right wherever the program goes
	given storage.Store    // by the caller, or nil
	names NameFormat
	open  openOption // of all steps
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
	if store == nil {
		r.at.Called = layout.Absolute(name)
	}
	return r, err
}

// path returns the path of an entry, which stays right when the program changes its
// working directory.
func (r *root) path(entry string) string { return r.at.Join(entry).String() }

// called returns err, in which a step is called as the caller calls the root. err is
// of a call that has ended, and nobody else has it yet.
func (r *root) called(err error) error {
	var named *orbax.Error
	if base := r.at.String(); errors.As(err, &named) && base != r.name {
		if entry, err := filepath.Rel(base, named.Path); err == nil && filepath.IsLocal(entry) {
			named.Path = storage.Location{Called: r.name}.Join(filepath.ToSlash(entry)).String()
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
	rank int // the lower counts of several that have one step
}

// list returns what there is. A root that does not exist is ErrNotExist.
func (r *root) list(ctx context.Context) (*entries, error) {
	infos, err := r.at.Store.List(ctx, r.at.Name)
	if errors.Is(err, fs.ErrNotExist) {
		err = orbax.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	all := new(entries)
	for _, e := range infos {
		if step, ok := stepOf(r.names, e.Name); ok && e.Dir {
			all.steps = append(all.steps, candidate{step, e, nameRank(r.names, e.Name)})
		} else {
			all.others = append(all.others, e)
		}
	}
	slices.SortFunc(all.steps, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.step, b.step), cmp.Compare(a.rank, b.rank))
	})
	info, err := r.at.Store.Stat(ctx, r.at.Name)
	if errors.Is(err, fs.ErrNotExist) {
		err = orbax.ErrNotExist
	}
	all.changed = info.ModTime
	return all, err
}

// inspect returns what the documents of a step say, read by read. One that is
// damaged has Err; the error is for what is no checkpoint, see isNoCheckpoint, or
// cannot be read.
func (r *root) inspect(ctx context.Context, c candidate,
	read func(context.Context, *orbax.Checkpoint) (*orbax.CheckpointMetadata, error)) (Step, error) {
	ck := Step{Step: c.step, Path: r.path(c.info.Name), Time: c.info.ModTime}
	m, err := opened(ctx, ck.Path, r.open, read)
	switch {
	case err == nil:
		ck.Metrics = m.Metrics
		if !m.CommitTime.IsZero() {
			ck.Time = m.CommitTime
		}
	case errors.Is(err, orbax.ErrCorrupt), errors.Is(err, orbax.ErrUnsupported), errors.Is(err, orbax.ErrBusy):
		ck.Err, err = err, nil
	}
	r.called(cmp.Or(err, ck.Err))
	return ck, err
}

// isMoving reports whether inspect has found that somebody removes or replaces the
// step: what it returns may be past already.
func isMoving(ck Step, err error) bool {
	return errors.Is(err, orbax.ErrNotExist) || errors.Is(ck.Err, orbax.ErrBusy)
}

// openOption is how a step is opened.
type openOption config.Open

// in makes store the one in which steps are opened.
func (o *openOption) in(store storage.Store) error {
	if o.Store != nil {
		return errIn
	}
	o.Store = store
	return nil
}

// errIn is the error of a store that is given for a step, and not for the run.
var errIn = fmt.Errorf("%w: a run has one store; give it to Options.Store or ReadOptions.Store, and not to In", fault.ErrUsage)

func (o openOption) ApplyOpen(c *config.Open) { *c = config.Open(o) }

// opened returns what read returns of the checkpoint at path.
func opened[T any](ctx context.Context, path string, open openOption, read func(context.Context, *orbax.Checkpoint) (T, error)) (v T, err error) {
	open.OneCall = true
	ck, err := orbax.Open(ctx, path, open)
	if err != nil {
		return v, err
	}
	defer ck.Close()
	return read(ctx, ck)
}

// isNoCheckpoint reports whether an error of inspect says that there is none.
func isNoCheckpoint(err error) bool {
	return errors.Is(err, orbax.ErrNotExist) || errors.Is(err, orbax.ErrInvalidCheckpoint) || errors.Is(err, orbax.ErrIncomplete)
}
