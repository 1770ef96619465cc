package orbax

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/found"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/proof"
	"github.com/go-orbax/orbax/storage"
)

// Delete removes the checkpoint at path. With [Name] it removes one of its
// checkpointables, and the others stay as they are.
//
// If the store can rename, a whole checkpoint disappears in one instant: a reader finds
// all of it or, with [ErrNotExist], nothing, and a crash can only leave its content under
// the name of an unfinished save. In a store that cannot, commit_success.txt
// goes first; what a crash leaves then is an unfinished checkpoint, which Delete removes too. The
// checkpoint need not be intact: Delete also removes
// a damaged checkpoint, a checkpoint whose deletion by Orbax was interrupted, and the
// temporary directory of a save that has died. (That of a save by Orbax in Python, which
// holds no lock, always looks dead.)
//
// Delete refuses the following with [ErrInvalidCheckpoint], and does not touch them; the
// error names the entries that it does not know:
//   - an empty directory;
//   - a directory whose documents are not those of Orbax;
//   - a directory that may be several old checkpoints: it has trees in directories, no
//     document next to them, and not the name of a step, which ends in a number;
//   - a directory with any file that neither Orbax nor this package writes, except the
//     files that desktops and notebooks leave everywhere.
//
// The digests list the files of a program's own handlers. If there are no digests, as in
// checkpoints of Orbax, everything in the directory of a checkpointable whose handler is
// not one of Orbax belongs to that checkpointable. Links are removed, and their targets
// stay. Files that come into the directory while it is removed stay too. A session of
// partial saves is refused with [ErrIncomplete]; partial.Abort removes it.
//
// Delete removes a checkpointable by the protocol of Orbax, with a record of the deletion
// in the checkpoint. After a crash, or an error that says so, loads no longer find the
// checkpointable, but it still takes up space. The checkpoint can then be loaded but not
// overwritten ([ErrDeletionInProgress]); Delete with the same name, or Orbax, finishes
// the deletion. Deleting the last checkpointable is refused with [ErrStructure], and
// deleting one that does not exist with [ErrNotExist].
//
// In an object store a writer that has died leaves a claim of its path. Delete first
// finishes or undoes what that one had begun, and then removes what is there, if anything;
// it also does so if nothing but the claim is left.
//
// If a save or another deletion is working on the path, the error matches [ErrBusy]; so it
// does in an object store until the claim of a dead writer has ended. A load that the
// deletion overtakes fails with ErrBusy or ErrNotExist.
func Delete(ctx context.Context, path string, options ...DeleteOption) error {
	c := config.NewDelete(options)
	err := remove(ctx, path, c)
	for _, deleted := range c.Deleted {
		*deleted = err == nil
	}
	if missing := flatten(err); c.MissingOK && len(missing) == 1 && errors.Is(err, fault.ErrNotExist) {
		return nil
	}
	return wrap(ctx, "delete", path, err)
}

// DeleteOption is an option of [Delete]: [Name], [MissingOK] or [Deleted].
type DeleteOption interface{ ApplyDelete(c *config.Delete) }

type deleteOption func(*config.Delete)

func (o deleteOption) ApplyDelete(c *config.Delete) { o(c) }

func (o nameOption) ApplyDelete(c *config.Delete) { c.Named, c.Name = true, string(o) }

// MissingOK makes a deletion succeed if there is nothing to delete.
func MissingOK() DeleteOption { return deleteOption(func(c *config.Delete) { c.MissingOK = true }) }

// Deleted sets deleted when [Delete] has ended: to true if Delete has deleted something,
// and to false if it has failed or, with [MissingOK], found nothing. If deleted is nil,
// the option has no effect.
func Deleted(deleted *bool) DeleteOption {
	return deleteOption(func(c *config.Delete) {
		if deleted != nil {
			c.Deleted = append(c.Deleted, deleted)
		}
	})
}

// deletion is what is to be done at a place in a store.
type deletion interface {
	// check refuses what cannot be deleted. It changes nothing.
	check(ctx context.Context) error
	// run deletes what check has accepted.
	run(ctx context.Context, edit storage.Edit) error
}

func remove(ctx context.Context, path string, c *config.Delete) error {
	at, err := config.Locate(ctx, c.Store, path)
	if err != nil {
		return err
	}
	if !at.Store.Properties().Edit {
		return fmt.Errorf("%w: the store of this path cannot delete", fault.ErrUnsupported)
	}
	place := place{at}
	var d deletion = &wholeDeletion{place}
	if c.Named {
		d = &partDeletion{place: place, item: c.Name}
	}
	// What is refused is not even claimed, unless it may be what a process has left that has
	// died in a removal. Of a path with nothing but a claim, the store knows whether its
	// writer is alive.
	err = d.check(ctx)
	var recovered *storage.Work
	if errors.Is(err, fault.ErrInvalidCheckpoint) && at.Store.Properties().NeedsMarker() {
		if recovered, err = finishDead(ctx, c.Store, path); err == nil {
			err = d.check(ctx)
		}
	}
	switch gone := !c.Named && errors.Is(err, fault.ErrNotExist); {
	case gone && recovered != nil:
		c.Tell(recovered)
		return nil
	case err != nil && !(gone && errors.As(err, new(*fault.Claimed))):
		return err
	}
	edit, err := at.Store.Edit(ctx, at.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return fault.ErrNotExist // removed since
	}
	if err != nil {
		return err
	}
	err = d.check(ctx) // it may have changed before it was claimed
	recovered = cmp.Or(edit.Recovered(), recovered)
	switch {
	case recovered != nil && !c.Named && errors.Is(err, fault.ErrNotExist):
		err = nil // what was there is gone
	case err == nil && c.Still != nil:
		if err = c.Still(ctx); err != nil {
			break
		}
		fallthrough
	case err == nil:
		err = d.run(ctx, edit)
	}
	if err = errors.Join(err, edit.Close()); err == nil && recovered != nil {
		c.Tell(recovered)
	}
	if err == nil && c.Still == nil {
		// What saves and deletions here have left that died; if it stays it is in no one's
		// way. A run removes what its steps have left.
		_ = proof.RemoveLeft(ctx, at)
	}
	return err
}

// place is where a checkpoint is.
type place struct{ storage.Location }

// check refuses a path at which there can be no checkpoint of its own.
func (p place) check(ctx context.Context) error {
	if p.Name == path.Dir(p.Name) {
		return fmt.Errorf("%w: it is the root of the store", fault.ErrInvalidCheckpoint)
	}
	info, err := found.Stat(ctx, p.Location)
	if err != nil {
		return err
	}
	if !info.Dir {
		return fmt.Errorf("%w: it is a file", fault.ErrInvalidCheckpoint)
	}
	outer, inside, err := layout.Enclosing(ctx, p.Location)
	switch {
	case err != nil || !inside:
		return err
	case outer.Name == p.Dir().Name:
		return fmt.Errorf("%w: it is a checkpointable of the checkpoint %s; give that path, and Name(%q)",
			fault.ErrInvalidCheckpoint, outer.Name, p.Base())
	}
	return fmt.Errorf("%w: it is inside of the checkpoint %s", fault.ErrInvalidCheckpoint, outer.Name)
}

// wholeDeletion removes a checkpoint.
type wholeDeletion struct{ place }

// markers are the files at the root of a checkpoint by which Orbax knows one, and
// that it removes last.
var markers = []string{layout.IndicatorFile, layout.TreeFile, layout.CheckpointFile}

func (d *wholeDeletion) check(ctx context.Context) error {
	if err := d.place.check(ctx); err != nil {
		return err
	}
	if found.IsSession(d.Name) {
		return fault.Advise(fmt.Errorf("will not delete: %w: it is a session of partial saves", fault.ErrIncomplete), fault.PartialAbort, "partial.Abort removes it")
	}
	if found.IsTemporary(d.Base()) {
		return nil // the store knows whether its writer lives, which comes first
	}
	_, err := d.look(ctx, d.Name)
	return err
}

// look is the look at what is to be removed: a checkpoint, or what a save has left. The
// store knows whether the writer of that lives.
func (d *wholeDeletion) look(ctx context.Context, dir string) ([]storage.Item, error) {
	look := proof.Checkpoint(d.Store)
	if found.IsTemporary(d.Base()) {
		if temporary, _ := storage.IsTemporary(d.Base()); !temporary {
			return nil, fmt.Errorf("will not delete: %w: no save gives a directory this name", fault.ErrInvalidCheckpoint)
		}
		look = proof.Temporary(d.Store)
	}
	items, err := look(ctx, dir)
	if err != nil && !errors.Is(err, fault.ErrNotExist) {
		err = fmt.Errorf("will not delete: %w", whyNot(ctx, storage.At(d.Store, dir), err))
	}
	return items, err
}

// whyNot returns err, the outcome of a look at a directory, or what says more if that is
// no checkpoint at all.
func whyNot(ctx context.Context, at storage.Location, err error) error {
	if !errors.Is(err, fault.ErrInvalidCheckpoint) || errors.Is(err, proof.ErrSeveral) || found.IsTemporary(at.Base()) {
		return err
	}
	for _, mark := range markers {
		if info, serr := at.Join(mark).Stat(ctx); serr == nil && !info.Dir {
			return err
		}
	}
	return found.NameForeign(found.NotCheckpoint(ctx, at))
}

func (d *wholeDeletion) run(ctx context.Context, edit storage.Edit) error {
	return edit.RemoveAll(ctx, d.look, markers...)
}
