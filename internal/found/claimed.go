package found

import (
	"context"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// claimed returns err, which says what a reader finds at a path, with the work of another
// writer there, and advice on what ends that work.
func claimed(err error, w *storage.Work) error {
	c := &fault.Claimed{Err: err, Work: w.String(), Exchange: w.Publishes(), New: w.Task == storage.TaskSave, Alive: w.Alive()}
	switch {
	case c.Exchange && c.Alive:
		return fault.Advise(c, fault.Wait, "wait and try again; if its writer has died, the next save to the path, training.New of its run, or Repair with WriteRepairs finishes that once the claim has ended")
	case c.Exchange:
		return fault.Advise(c, fault.Finish, "the next save to the path, training.New of its run, or Repair with WriteRepairs finishes that")
	case c.Alive:
		return fault.Advise(c, fault.Wait, "wait for it; if its writer has died, the next save to the path, or Delete, removes what it has left once the claim has ended")
	}
	return fault.Advise(c, fault.Delete, "the next save to the path, or Delete, removes what it has left")
}

// workAt returns err, the error of a path at which nothing is, with the work of a writer
// that has claimed the path.
func workAt(ctx context.Context, at storage.Location, err error) error {
	w, werr := at.Store.Work(ctx, at.Name)
	switch {
	case werr != nil:
		return werr
	case w == nil:
		return err
	}
	return claimed(err, w)
}

// unfinishedAt returns the error of a checkpoint that lacks the marker which every
// checkpoint in its store has: fault.ErrUnfinished, with the work of its writer if that has
// a claim, or [ErrReplaced] if the checkpoint has the marker by now. live is the checkpoint
// in the store itself.
func unfinishedAt(ctx context.Context, live storage.Location) error {
	err := workAt(ctx, live, fault.ErrUnfinished)
	if absent := confirmAbsent(ctx, live, layout.CommitFile); absent != nil {
		return absent
	}
	return err
}
