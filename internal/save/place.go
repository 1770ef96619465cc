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

// overwriteAdvice follows an error about a path that Overwrite would replace.
const overwriteAdvice = "pass Overwrite to replace it"

// Place is the future place of a checkpoint.
type Place struct {
	storage.Location
	// remains says that the save may replace what an interrupted copy of a checkpoint has
	// left there.
	remains bool
}

// checkMode refuses an option that asks for a rename if the store cannot rename.
func (p Place) checkMode(c *Config) error {
	if c.Rename && p.needsMarker() {
		return fmt.Errorf("%w: the store of this path cannot rename, and a save to it is committed by commit_success.txt; leave Atomicity out", fault.ErrUnsupported)
	}
	return nil
}

// needsMarker reports whether every checkpoint in the store of the place is committed by
// marker. A place that could not be located has no store.
func (p Place) needsMarker() bool { return p.Store != nil && p.Store.Properties().NeedsMarker() }

// CheckOutside refuses a path inside a checkpoint. There the new checkpoint would be
// taken for a part of the other and be removed with it.
func (p Place) CheckOutside(ctx context.Context) error {
	outer, inside, err := layout.Enclosing(ctx, p.Location)
	if err == nil && inside {
		err = fmt.Errorf("%w: it is inside of the checkpoint %s", fault.ErrInvalidCheckpoint, outer.Name)
	}
	return err
}

// checkName refuses names that no checkpoint can have.
func (p Place) checkName() error {
	switch name := p.Base(); {
	case found.IsTemporary(name):
		return fmt.Errorf("%w: %q looks like an unfinished directory", fault.ErrReservedName, name)
	case found.IsSession(name):
		return fmt.Errorf("%w: %q is the name of a session of partial saves", fault.ErrReservedName, name)
	}
	return nil
}

// Stat describes the file or directory at the place. ok is false if there is none. Stat
// refuses names that no checkpoint can have.
func (p Place) Stat(ctx context.Context) (info storage.Info, ok bool, err error) {
	if err := p.checkName(); err != nil {
		return info, false, err
	}
	info, err = p.Store.Stat(ctx, p.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return info, false, nil
	}
	return info, err == nil, err
}

// Look recognises the checkpoint at the place, which info describes. The error says why
// it is not intact. It matches ErrNotExist if nothing is left there.
func (p Place) Look(ctx context.Context, info storage.Info) (*found.Found, error) {
	old, err := found.Look(ctx, p.Location)
	if err == nil && old.IsForeign() {
		err = fmt.Errorf("%w: it has arrays, but no document of Orbax", fault.ErrInvalidCheckpoint)
		if info.Dir { // old releases wrote no document at the root, but documents below it
			if _, lerr := p.proof(ctx, p.Name); !errors.Is(lerr, fault.ErrInvalidCheckpoint) || errors.Is(lerr, proof.ErrSeveral) {
				err = lerr
			}
		}
	}
	return old, found.NameForeign(err)
}

// proof looks at a directory that is to be replaced.
func (p Place) proof(ctx context.Context, dir string) ([]storage.Item, error) {
	if p.remains {
		return proof.Remains(p.Store)(ctx, dir)
	}
	return proof.Replaced(p.Store)(ctx, dir)
}

// Taken returns the error of a save whose place is not free. err is the error of Look.
func (p Place) Taken(ctx context.Context, err error) error {
	switch {
	case err == nil || errors.Is(err, fault.ErrCorrupt):
		return fault.Advise(fault.ErrExist, fault.Overwrite, overwriteAdvice)
	case errors.Is(err, fault.ErrUnfinished):
		return cmp.Or(p.busy(ctx), fmt.Errorf("%w: %w", fault.ErrExist, err))
	}
	return fmt.Errorf("%w, and Overwrite does not replace it: %w; move it away first", fault.ErrExist, err)
}

// busy returns ErrBusy if another writer is at work on the path, such as the writer of an
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

// removeLeft removes the leftovers of dead saves to the same path. Leftovers that cannot
// be removed do no harm.
func (p Place) removeLeft(ctx context.Context) {
	_ = proof.RemoveLeft(ctx, p.Location)
}

// CheckRoom refuses a save that cannot fit. If there is not enough room, it first calls
// Step.MakeRoom, if that is set. The savings of compression and of sharing are not known
// before the save, and other programs may take the room meanwhile. Then the save fails
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
