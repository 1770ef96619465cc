package orbax

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/proof"
	"github.com/go-orbax/orbax/internal/save"
	"github.com/go-orbax/orbax/storage"
)

// AtomicityMode is how a save makes its checkpoint complete in one step; see [Atomicity].
type AtomicityMode int

const (
	// AtomicRename writes the checkpoint under a temporary name, and renames it when
	// it is complete. It is the default.
	AtomicRename AtomicityMode = iota
	// CommitFile writes the checkpoint in its place, and the file commit_success.txt
	// when all the rest is durable.
	CommitFile
)

// Atomicity says how a save is committed, as AtomicityOptions do in Orbax. With
// [CommitFile] the directory is at its path while it is written: all readers of this
// package refuse it with ErrIncomplete until the file is there that commits it, and so
// does Orbax if its own AtomicityOptions say COMMIT_FILE. Without them Orbax loads such
// a directory as far as it is. Use it where others look for that file, and otherwise the
// default.
//
// A save by CommitFile that is killed leaves an unfinished checkpoint at its path, or an
// empty directory; after any other failure nothing is left, as with [AtomicRename].
// [Overwrite] replaces an unfinished checkpoint or an empty directory. To replace one
// that is complete or damaged is refused with ErrUnsupported: the old one could not stay until the new one
// is complete. [Delete] it first, or save by AtomicRename. The one exception is a damaged
// step of a run that training.Checkpointer.Resume has passed over: a Checkpointer replaces
// it by the files of CommitFile, which it writes under a temporary name and renames, so
// that the damaged step stays until then. A partial save refuses
// CommitFile with ErrUsage, and a store that cannot write in place with ErrUnsupported.
func Atomicity(mode AtomicityMode) SaveCheckpointablesOption {
	return saveOption(func(c *save.Config) {
		c.Marker, c.Refused = mode == CommitFile, nil
		if mode != AtomicRename && mode != CommitFile {
			c.Refused = fmt.Errorf("%w: there is no AtomicityMode %d", fault.ErrUsage, mode)
		}
	})
}

// errNotInPlace matches ErrExist, for callers that did not ask to overwrite anything.
var errNotInPlace = fmt.Errorf("%w: %w: a save by CommitFile cannot keep the checkpoint that it replaces; Delete it first, or save by AtomicRename",
	fault.ErrUnsupported, fault.ErrExist)

// checkAtomicity refuses a mode that there is not, or not here.
func (s *saving) checkAtomicity(c *save.Config) error {
	switch {
	case c.Refused != nil:
		return c.Refused
	case s.inPlace && s.into != nil:
		return fmt.Errorf("%w: a partial save cannot be committed by CommitFile; leave Atomicity out", fault.ErrUsage)
	case s.inPlace && !s.store.Properties().Marker:
		return fmt.Errorf("%w: the store of this path cannot write a checkpoint in its place; leave Atomicity out", fault.ErrUnsupported)
	}
	return nil
}

// beginInPlace makes the directory of a save by marker, and the file in it by which it
// is known to be unfinished.
func (s *saving) beginInPlace(ctx context.Context) (err error) {
	o := storage.BeginOptions{Marker: layout.CommitFile, Replace: s.replaces(s.lookUnfinished)}
	if s.stage, err = s.store.Begin(ctx, s.dir, o); err != nil {
		return err
	}
	if err = s.engine.WriteFile(ctx, s.stage, layout.IndicatorFile, nil); err != nil {
		return errors.Join(err, s.stage.Abort())
	}
	s.digests.Add(layout.IndicatorFile, sha256.Sum256(nil))
	return nil
}

// lookUnfinished is the look at what a save by marker may remove: it is looked at where
// it was, and again under its temporary name.
func (s *saving) lookUnfinished(ctx context.Context, dir string) ([]storage.Item, error) {
	if dir == s.dir {
		if err := s.checkTarget(ctx); err != nil {
			return nil, err
		}
	}
	return proof.Replaced(s.store)(ctx, dir)
}

// busy returns ErrBusy if another writer is at work on the path, as one that writes an
// unfinished checkpoint there.
func (s *saving) busy(ctx context.Context) error {
	edit, err := s.store.Edit(ctx, s.dir)
	if err == nil {
		return edit.Close()
	}
	if errors.Is(err, fault.ErrBusy) {
		return err
	}
	return nil
}
