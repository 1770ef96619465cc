package orbax

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/found"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/proof"
	"github.com/go-orbax/orbax/storage"
)

// partDeletion removes a checkpointable. Its steps are those of Orbax, so that
// either finishes what the other has begun:
//
//  1. the record: from now on loads leave the checkpointable out
//  2. the directory is removed
//  3. the metadata without its handler
//  4. the digests without its documents, and with that of the new metadata
//  5. the record is removed
//
// Orbax, which does not know the digests, leaves out the fourth; what it may
// leave behind is not taken for damage, see forgetDeleted.
type partDeletion struct {
	place
	item   string
	found  *found.Found     // by check
	record *layout.Deletion // one that is there already, or is to be
}

func (d *partDeletion) check(ctx context.Context) error {
	if err := d.accept(ctx); err != nil {
		return err
	}
	if _, err := d.look(ctx, d.Join(d.item).Name); err != nil && !errors.Is(err, fault.ErrNotExist) {
		return fmt.Errorf("will not delete %q: %w", d.item, err)
	}
	return nil
}

// accept finds out whether there is such a checkpointable that can be deleted.
func (d *partDeletion) accept(ctx context.Context) error {
	if err := layout.CheckName(d.item); err != nil {
		return err
	}
	if err := d.place.check(ctx); err != nil {
		return err
	}
	var err error
	if d.found, err = found.Look(ctx, d.Location); err != nil {
		return err
	}
	if !d.found.HasItems() {
		return fmt.Errorf("%w: it has no checkpointables with names; delete the whole checkpoint", fault.ErrStructure)
	}
	if d.found.Deleting != "" {
		return d.checkResume()
	}
	if err := d.found.Check(d.item); err != nil {
		return err
	}
	if d.record, err = layout.NewDeletion(d.found.Document, d.item); err != nil {
		return err
	}
	for other := range d.found.Meta.Handlers { // Orbax knows no others
		if other != d.item && d.found.Has(other) {
			return nil
		}
	}
	return fmt.Errorf("%w: %q is the last checkpointable; delete the whole checkpoint instead", fault.ErrStructure, d.item)
}

// checkResume accepts the deletion that the checkpoint's record describes.
func (d *partDeletion) checkResume() error {
	d.record = d.found.Deletion
	if d.record.Name != d.item {
		return d.found.Pending()
	}
	if d.record.Destination != "" {
		return fmt.Errorf("%w: the deletion that was begun moves %q to %s, which only Orbax does; finish it with that",
			fault.ErrUnsupported, d.item, d.record.Destination)
	}
	return nil
}

func (d *partDeletion) run(ctx context.Context, edit storage.Edit) error {
	metadata, err := d.record.Metadata()
	if err != nil {
		return err
	}
	if d.found.Deleting == "" {
		err := edit.Put(ctx, layout.DeletionFile, d.record.Document(), false)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w: %w: one that began at the same time", fault.ErrBusy, fault.ErrDeletionInProgress)
		}
		if err != nil {
			return err
		}
	}
	if err := d.finish(ctx, edit, metadata); err != nil {
		return fmt.Errorf("%w: that of checkpointable %q; retry it: %w", fault.ErrDeletionInProgress, d.item, err)
	}
	return nil
}

// look is the look at the directory of the checkpointable.
func (d *partDeletion) look(ctx context.Context, dir string) ([]storage.Item, error) {
	return proof.Part(d.Location, d.item)(ctx, dir)
}

// finish is what follows the record. All of it may be done again.
func (d *partDeletion) finish(ctx context.Context, edit storage.Edit, metadata []byte) error {
	if err := edit.Remove(ctx, d.item, d.look); err != nil {
		return err
	}
	if err := edit.Put(ctx, layout.CheckpointFile, metadata, true); err != nil {
		return err
	}
	if sums := d.found.Digests; sums != nil {
		sums.ForgetPart(d.item)
		sums.AddCheckpoint(metadata)
		if err := edit.Put(ctx, layout.DigestFile, sums.Document(), true); err != nil {
			return err
		}
	}
	return edit.Remove(ctx, layout.DeletionFile, nil)
}
