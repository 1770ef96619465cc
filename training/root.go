package training

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/storage"
)

// root is the directory of a run.
type root struct {
	name  string // as the caller calls it
	store storage.Store
	dir   string // in the store
	names NameFormat
}

func newRoot(name string, names NameFormat) (root, error) {
	r := root{name: name, names: names}
	if r.names == nil {
		r.names = StandardNameFormat{}
	}
	err := validate(r.names)
	if err == nil {
		r.store, r.dir, err = storage.Resolve(name)
	}
	return r, err
}

// path returns the path of an entry.
func (r *root) path(entry string) string {
	if strings.Contains(r.name, "://") {
		return strings.TrimRight(r.name, "/") + "/" + entry
	}
	return filepath.Join(r.name, entry)
}

// candidate is a directory that has the name of a step.
type candidate struct {
	step int
	info storage.Info
	rank int // the lower counts of several that have one step
}

// list returns the directories with names of steps, in the order of the steps, and
// what else there is. A root that does not exist is ErrNotExist.
func (r *root) list(ctx context.Context) (steps []candidate, others []storage.Info, err error) {
	entries, err := r.store.List(ctx, r.dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = orbax.ErrNotExist
	}
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if step, ok := stepOf(r.names, e.Name); ok && e.Dir {
			steps = append(steps, candidate{step, e, nameRank(r.names, e.Name)})
		} else {
			others = append(others, e)
		}
	}
	slices.SortFunc(steps, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.step, b.step), cmp.Compare(a.rank, b.rank))
	})
	return steps, others, nil
}

// inspect returns what the documents of a step say, read by read. One that is
// damaged has Err; the error is for what is no checkpoint, see isNoCheckpoint, or
// cannot be read.
func (r *root) inspect(ctx context.Context, c candidate,
	read func(context.Context, *orbax.Checkpoint) (*orbax.CheckpointMetadata, error)) (Checkpoint, error) {
	ck := Checkpoint{Step: c.step, Path: r.path(c.info.Name), Time: c.info.ModTime}
	m, err := opened(ctx, ck.Path, read)
	switch {
	case err == nil:
		ck.Metrics = m.Metrics
		if !m.CommitTime.IsZero() {
			ck.Time = m.CommitTime
		}
	case errors.Is(err, orbax.ErrCorrupt), errors.Is(err, orbax.ErrUnsupported), errors.Is(err, orbax.ErrBusy):
		ck.Err, err = err, nil
	}
	return ck, err
}

// opened returns what read returns of the checkpoint at path.
func opened[T any](ctx context.Context, path string, read func(context.Context, *orbax.Checkpoint) (T, error)) (v T, err error) {
	ck, err := orbax.Open(ctx, path)
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
