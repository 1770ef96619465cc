package orbax

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/found"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/proof"
	"github.com/go-orbax/orbax/internal/save"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/tree"
)

// overwriteAdvice follows an error about what Overwrite would replace.
const overwriteAdvice = "pass Overwrite to replace it"

// checkPlace refuses a path inside of a checkpoint, where the new one would be
// taken for a part of it, and be removed with it.
func (s *saving) checkPlace(ctx context.Context) error {
	outer, err := layout.Enclosing(ctx, s.store, s.dir)
	if err == nil && outer != "" {
		err = fmt.Errorf("%w: it is inside of the checkpoint %s", fault.ErrInvalidCheckpoint, outer)
	}
	return err
}

// checkRoom refuses a save that cannot fit, after makeRoom, if there is one, has done
// what it can. What compression leaves, and what can be shared with an earlier step,
// is not known before, and others may take the room meanwhile; then the save fails
// when the store is full.
func (s *saving) checkRoom(ctx context.Context, makeRoom func(context.Context) error) error {
	if s.least == 0 {
		return nil
	}
	room, err := s.store.Room(ctx, s.dir)
	if err == nil && room < s.least {
		s.removeLeft(ctx)
		room, err = s.store.Room(ctx, s.dir)
	}
	if err == nil && room < s.least && makeRoom != nil {
		if err := makeRoom(ctx); err != nil {
			return err
		}
		room, err = s.store.Room(ctx, s.dir)
	}
	switch {
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, fs.ErrPermission):
		return nil
	case err != nil:
		return err
	case room < s.least && !s.sharing.has():
		err = fmt.Errorf("%w: the arrays take %s, and there is room for %s", fault.ErrNoSpace, fault.Size(s.least), fault.Size(room))
		if s.overwrite && !s.inPlace {
			err = fmt.Errorf("%w (what is overwritten stays until the new checkpoint is complete)", err)
		}
		return err
	}
	return nil
}

// removeLeft removes what saves to the same path have left that died. What cannot be
// removed is in no one's way.
func (s *saving) removeLeft(ctx context.Context) {
	_ = proof.RemoveLeft(ctx, s.store, s.dir)
}

// checkTarget refuses a path that is taken: by anything, or, if overwriting, by
// anything but a checkpoint.
func (s *saving) checkTarget(ctx context.Context) error {
	if name := path.Base(s.dir); found.IsTemporary(name) {
		return fmt.Errorf("%w: %q looks like an unfinished directory", fault.ErrReservedName, name)
	} else if found.IsSession(name) {
		return fmt.Errorf("%w: %q is the name of a session of partial saves", fault.ErrReservedName, name)
	}
	info, err := s.store.Stat(ctx, s.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.overwrite = s.overwrite && !s.unfinished // nothing is there to replace
		return nil
	case err != nil:
		return err
	}
	look := proof.Replaced(s.store)
	if s.into == nil && info.Dir {
		entries, err := storage.Entries(ctx, s.store, s.dir)
		switch {
		case err != nil || len(entries) > 0:
		case s.overwrite:
			return nil // an empty directory, which may have been made for this
		default:
			return fault.Advise(fmt.Errorf("%w: an empty directory", fault.ErrExist), fault.Overwrite, overwriteAdvice)
		}
	}
	old, err := found.Look(ctx, s.store, s.dir)
	if errors.Is(err, fault.ErrNotExist) {
		return nil // removed since
	}
	if err == nil && old.IsForeign() {
		err = fmt.Errorf("%w: it has arrays, but no document of Orbax", fault.ErrInvalidCheckpoint)
		if info.Dir { // old releases wrote no document at the root, but some below
			if _, lerr := look(ctx, s.dir); !errors.Is(lerr, fault.ErrInvalidCheckpoint) || errors.Is(lerr, proof.ErrSeveral) {
				err = lerr
			}
		}
	}
	switch {
	case s.overwrite && (!s.unfinished || errors.Is(err, fault.ErrUnfinished)):
	case s.into != nil && err == nil:
		return fmt.Errorf("%w; parts are for a checkpoint that does not exist yet", fault.ErrExist)
	case s.inPlace && (err == nil || errors.Is(err, fault.ErrCorrupt)):
		return errNotInPlace
	case err == nil || errors.Is(err, fault.ErrCorrupt):
		return fault.Advise(fault.ErrExist, fault.Overwrite, overwriteAdvice)
	case errors.Is(err, fault.ErrUnfinished):
		return cmp.Or(s.busy(ctx), fmt.Errorf("%w: %w", fault.ErrExist, err))
	default:
		return fmt.Errorf("%w, and Overwrite does not replace it: %w", fault.ErrExist, err)
	}
	if err == nil && old.Deleting != "" {
		return old.Pending()
	}
	// One that is damaged, or not finished, may be replaced.
	if err == nil || errors.Is(err, fault.ErrCorrupt) || errors.Is(err, fault.ErrUnfinished) {
		_, err = look(ctx, s.dir)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed since
	}
	if err != nil {
		return fmt.Errorf("will not overwrite: %w", err)
	}
	return nil
}

// accept asks whether a partial save may be made.
func (s *saving) accept(ctx context.Context, state any, c *save.Config) error {
	if s.into == nil {
		return nil
	}
	if s.overwrite {
		return fmt.Errorf("%w: a partial save overwrites nothing", fault.ErrUsage)
	}
	if custom, _ := s.meta.Custom.(layout.CustomJSON); custom.IsList() {
		return fmt.Errorf("%w: the custom metadata of a part must be a JSON object, to be merged with that of others", fault.ErrUsage)
	}
	leaves, err := tree.Flatten(state, c.Handler.Adapters...)
	if err != nil {
		return err
	}
	return s.into.Accept(ctx, leaves, c.Handler.Storage.Zarr2)
}
