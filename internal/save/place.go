package save

import (
	"cmp"
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

// overwriteAdvice follows an error about what Overwrite would replace.
const overwriteAdvice = "pass Overwrite to replace it"

// Place is where a checkpoint is to be.
type Place struct{ storage.Location }

// CheckOutside refuses a path inside of a checkpoint, where the new one would be taken
// for a part of it, and be removed with it.
func (p Place) CheckOutside(ctx context.Context) error {
	outer, err := layout.Enclosing(ctx, p.Store, p.Name)
	if err == nil && outer != "" {
		err = fmt.Errorf("%w: it is inside of the checkpoint %s", fault.ErrInvalidCheckpoint, outer)
	}
	return err
}

// Stat describes what is at the place; ok is false if there is nothing. It refuses names
// that no checkpoint can have.
func (p Place) Stat(ctx context.Context) (info storage.Info, ok bool, err error) {
	if name := p.Base(); found.IsTemporary(name) {
		return info, false, fmt.Errorf("%w: %q looks like an unfinished directory", fault.ErrReservedName, name)
	} else if found.IsSession(name) {
		return info, false, fmt.Errorf("%w: %q is the name of a session of partial saves", fault.ErrReservedName, name)
	}
	info, err = p.Store.Stat(ctx, p.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return info, false, nil
	}
	return info, err == nil, err
}

// Look finds out what checkpoint is at the place, which info describes. The error says
// why there is none that is intact; it matches ErrNotExist if nothing is left there.
func (p Place) Look(ctx context.Context, info storage.Info) (*found.Found, error) {
	old, err := found.Look(ctx, p.Store, p.Name)
	if err == nil && old.IsForeign() {
		err = fmt.Errorf("%w: it has arrays, but no document of Orbax", fault.ErrInvalidCheckpoint)
		if info.Dir { // old releases wrote no document at the root, but some below
			if _, lerr := p.proof(ctx, p.Name); !errors.Is(lerr, fault.ErrInvalidCheckpoint) || errors.Is(lerr, proof.ErrSeveral) {
				err = lerr
			}
		}
	}
	return old, err
}

// proof is the look at a directory that is to be replaced.
func (p Place) proof(ctx context.Context, dir string) ([]storage.Item, error) {
	return proof.Replaced(p.Store)(ctx, dir)
}

// Taken returns the error of a save that finds something at its place, of which Look has
// returned err.
func (p Place) Taken(ctx context.Context, err error) error {
	switch {
	case err == nil || errors.Is(err, fault.ErrCorrupt):
		return fault.Advise(fault.ErrExist, fault.Overwrite, overwriteAdvice)
	case errors.Is(err, fault.ErrUnfinished):
		return cmp.Or(p.busy(ctx), fmt.Errorf("%w: %w", fault.ErrExist, err))
	}
	return fmt.Errorf("%w, and Overwrite does not replace it: %w", fault.ErrExist, err)
}

// busy returns ErrBusy if another writer is at work on the path, as one that writes an
// unfinished checkpoint there.
func (p Place) busy(ctx context.Context) error {
	edit, err := p.Store.Edit(ctx, p.Name)
	if err == nil {
		return edit.Close()
	}
	if errors.Is(err, fault.ErrBusy) {
		return err
	}
	return nil
}

// removeLeft removes what saves to the same path have left that died. What cannot be
// removed is in no one's way.
func (p Place) removeLeft(ctx context.Context) {
	_ = proof.RemoveLeft(ctx, p.Store, p.Name)
}

// CheckRoom refuses a save that cannot fit, after Step.MakeRoom, if there is one, has
// done what it can. What compression leaves, and what can be shared with an earlier step,
// is not known before, and others may take the room meanwhile; then the save fails
// when the store is full.
func (p *Plan) CheckRoom(ctx context.Context) error {
	if p.Bytes == 0 {
		return nil
	}
	room, err := p.Store.Room(ctx, p.Name)
	if err == nil && room < p.Bytes {
		p.removeLeft(ctx)
		room, err = p.Store.Room(ctx, p.Name)
	}
	if err == nil && room < p.Bytes && p.Config.Step.MakeRoom != nil {
		if err := p.Config.Step.MakeRoom(ctx); err != nil {
			return err
		}
		room, err = p.Store.Room(ctx, p.Name)
	}
	switch {
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, fs.ErrPermission):
		return nil
	case err != nil:
		return err
	case room < p.Bytes && !p.Config.Step.shares():
		return fmt.Errorf("%w: the arrays take %s, and there is room for %s", fault.ErrNoSpace, fault.Size(p.Bytes), fault.Size(room))
	}
	return nil
}
