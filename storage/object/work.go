package object

import (
	"cmp"
	"context"
	"errors"
	"io/fs"

	"github.com/go-orbax/orbax/storage"
)

// Work returns what the claim of a directory says, or nil if there is none, or none that
// this program may read.
func (s *Store) Work(ctx context.Context, dir string) (*storage.Work, error) {
	if dir = keyOf(dir); dir == "" {
		return nil, ctx.Err()
	}
	if of, is := claimed(dir); is {
		dir = of
	}
	now, err := s.readClaim(ctx, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return now.work(dir), nil
}

// work describes the claim of dir.
func (h *held) work(dir string) *storage.Work {
	w := &storage.Work{Claim: claimKey(dir), Writer: h.Owner, Until: h.info.Modified.Add(h.patience()), Left: h.left()}
	r := &h.record
	if r.State == recovering && r.Undo != nil {
		r = r.Undo
		w.Dead = cmp.Or(r.Owner, "a writer")
	}
	w.Since = r.Begun
	switch ch := r.Change; {
	case r.State == writing:
		w.Task = storage.TaskSave
	case r.State != changing || ch == nil:
	case ch.From.Key == "":
		w.Task, w.Decided = storage.TaskRemove, true
	case ch.Marker.Version != "" || ch.List != "" || len(ch.Copies)+len(ch.Remove) > 0:
		w.Task, w.Decided = storage.TaskReplace, true
	default:
		w.Task, w.Decided = storage.TaskSave, true
	}
	return w
}
