package training

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/storage"
)

// reader lists the steps of a root, for those who want to know of the newest. It
// opens no more of them than it must, and none again that has not changed.
type reader struct {
	root  string // as the caller calls it
	store storage.Store
	dir   string
	names NameFormat
	sound Checkpoint   // the newest that was sound
	entry storage.Info // that one's, in the root
}

func newReader(root string, o ReadOptions) (*reader, error) {
	r := &reader{root: root, names: o.StepNameFormat}
	if r.names == nil {
		r.names = StandardNameFormat{}
	}
	if err := cmp.Or(validate(r.names), notNegative("ReadOptions", "Interval", o.Interval)); err != nil {
		return nil, err
	}
	var err error
	r.store, r.dir, err = storage.Resolve(root)
	return r, err
}

// list returns the steps, ascending. Of the newest that are damaged it says so,
// and of the newest that is not it tells everything; of older ones the number.
func (r *reader) list(ctx context.Context) ([]Checkpoint, error) {
	entries, err := r.store.List(ctx, r.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, orbax.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	type candidate struct {
		ck    Checkpoint
		entry storage.Info
		rank  int
	}
	var found []candidate
	for _, e := range entries {
		if step, ok := stepOf(r.names, e.Name); ok && e.Dir {
			found = append(found, candidate{Checkpoint{Step: step, Path: r.path(e.Name)}, e, nameRank(r.names, e.Name)})
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.ck.Step, a.ck.Step), cmp.Compare(a.rank, b.rank))
	})
	var steps []Checkpoint // descending
	sound := false
	for _, c := range found {
		if !sound {
			is, err := r.inspect(ctx, &c.ck, c.entry)
			if err != nil {
				return nil, err
			}
			if !is {
				continue
			}
			if sound = c.ck.Err == nil; sound {
				r.sound, r.entry = c.ck, c.entry
			}
		}
		steps = append(steps, c.ck)
	}
	slices.Reverse(steps)
	return steps, nil
}

// inspect fills ck, the step of this entry, from its documents. It returns false
// if it is no checkpoint, or no longer, and an error if that cannot be told.
func (r *reader) inspect(ctx context.Context, ck *Checkpoint, entry storage.Info) (bool, error) {
	if entry.Name == r.entry.Name && entry.ModTime.Equal(r.entry.ModTime) {
		*ck = r.sound
		return true, nil
	}
	m, err := describe(ctx, ck.Path)
	switch {
	case err == nil:
		ck.Metrics, ck.Time = m.Metrics, m.CommitTime
		if ck.Time.IsZero() {
			ck.Time = entry.ModTime
		}
		return true, nil
	case errors.Is(err, orbax.ErrCorrupt), errors.Is(err, orbax.ErrUnsupported), errors.Is(err, orbax.ErrBusy):
		ck.Time, ck.Err = entry.ModTime, err
		return true, nil
	case errors.Is(err, orbax.ErrNotExist), errors.Is(err, orbax.ErrInvalidCheckpoint), errors.Is(err, orbax.ErrIncomplete):
		return false, nil
	}
	return false, fmt.Errorf("step %d: %w", ck.Step, err)
}

// describe reads all documents of a checkpoint.
func describe(ctx context.Context, path string) (*orbax.CheckpointMetadata, error) {
	ck, err := orbax.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer ck.Close()
	return ck.CheckpointablesMetadata(ctx)
}

// path returns the path of an entry of the root.
func (r *reader) path(name string) string {
	if strings.Contains(r.root, "://") {
		return strings.TrimRight(r.root, "/") + "/" + name
	}
	return filepath.Join(r.root, name)
}
