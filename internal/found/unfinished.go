package found

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/storage"
)

// A checkpoint is committed in one of two ways. By rename: it is written under a
// temporary name, so that everything under a final name is complete. Or by marker: it is
// written in its final place, and is complete when layout.CommitFile is there. Orbax
// renames on file systems. It uses the marker on Google Cloud Storage and wherever
// AtomicityOptions say so.
//
// A checkpoint with the marker is complete. A checkpoint without it may be complete too,
// because releases of Orbax before August 2026 wrote no marker into checkpoints that they
// renamed. The documents decide then; see [Found.unfinished]. They cannot decide between
// the last document and the marker of a save by Orbax's Save functions, and of an item
// without a step around it. Everything that can be loaded is in place at that time, so
// such a checkpoint counts as complete.

// In a store that cannot rename, nothing but the marker shows that a checkpoint is
// complete. There a directory without it is none; see [isOpen]. The checkpointables of a
// checkpoint need no marker of their own.

// isOpen reports whether a directory with these entries lacks the marker that every
// checkpoint in its store has.
func isOpen(at storage.Location, entries []storage.Info) bool {
	return at.Store.Properties().NeedsMarker() && !hasFile(entries, layout.CommitFile)
}

// Committed reports whether a directory has the marker, or needs none because the store
// makes directories appear in one step.
func Committed(ctx context.Context, at storage.Location) (bool, error) {
	if !at.Store.Properties().NeedsMarker() {
		return true, nil
	}
	info, err := at.Join(layout.CommitFile).Stat(ctx)
	if isAbsent(err) {
		return false, nil
	}
	return err == nil && !info.Dir, err
}

// lookUnmarked is the outcome of lookBare for a directory that [isOpen]; live is that in the
// store itself. It keeps errors
// that say that the directory is something else, and files of safetensors, which are
// complete one by one and which no save of a checkpoint writes.
func lookUnmarked(ctx context.Context, live storage.Location, f *Found, err error) (*Found, error) {
	switch {
	case f != nil && f.Kind == Tensors:
		return f, err
	case f == nil && !errors.Is(err, fault.ErrCorrupt) && !errors.Is(err, fault.ErrIncomplete):
		return nil, err
	}
	err = unfinishedAt(ctx, live)
	if err == fault.ErrUnfinished { // it may be in an unfinished checkpoint that is claimed
		err = cmp.Or(checkAround(ctx, live), err)
	}
	return nil, err
}

// checkAround returns fault.ErrUnfinished for a directory that has its own marker in a
// store that needs one, and is in an unfinished checkpoint.
func checkAround(ctx context.Context, at storage.Location) error {
	if !at.Store.Properties().NeedsMarker() {
		return nil
	}
	around := at.Dir()
	if _, err := around.Join(layout.IndicatorFile).Stat(ctx); err != nil {
		if isAbsent(err) {
			err = nil
		}
		return err
	}
	committed, err := Committed(ctx, around)
	if err == nil && !committed {
		err = fmt.Errorf("%s: %w", around.Name, unfinishedAt(ctx, around))
	}
	return err
}

// unfinished returns fault.ErrUnfinished if the documents of a checkpoint without the
// marker show that it is committed by marker. It looks only at the items.
func (f *Found) unfinished(ctx context.Context) error {
	if f.Meta.Uncommitted {
		return fault.ErrUnfinished
	}
	uncertain := f.Meta.CommitTime.IsZero() // the document is empty, or comes from an old release
	if uncertain && f.HasItems() && len(f.Names)+len(f.Missing) == 0 && f.Deleting == "" {
		return fault.ErrUnfinished // the checkpoint has only the beginning of that document
	}
	// A writer that commits by marker marks every item first.
	if marked, err := anyMarked(ctx, f.At, f.Names); marked || err != nil {
		return cmp.Or(err, fault.ErrUnfinished)
	}
	if !uncertain {
		return nil
	}
	for _, name := range f.Items() {
		if unmerged, err := isUnmerged(ctx, f.At.Join(name)); unmerged || err != nil {
			return cmp.Or(err, fault.ErrUnfinished)
		}
	}
	return nil
}

// anyMarked reports whether one of the items in dir has its own marker.
func anyMarked(ctx context.Context, at storage.Location, names []string) (bool, error) {
	for _, name := range names {
		info, err := at.Join(name, layout.CommitFile).Stat(ctx)
		if err == nil && !info.Dir {
			return true, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return false, nil
}

// isUnmerged reports whether a pytree's directory has the databases of processes and not
// yet the one that Orbax merges them into.
func isUnmerged(ctx context.Context, at storage.Location) (bool, error) {
	entries, err := at.List(ctx)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return false, err
	}
	return !hasFile(entries, ocdbt.ManifestName) && slices.ContainsFunc(entries, ofProcess), nil
}

// ofProcess reports whether an entry is the database of a process.
func ofProcess(e storage.Info) bool { return e.Dir && strings.HasPrefix(e.Name, layout.ProcessPrefix) }

// hasBegun reports whether a directory without metadata of a checkpoint, and without its
// marker, is an unfinished save by marker.
func hasBegun(ctx context.Context, at storage.Location, entries []storage.Info) (bool, error) {
	switch {
	case hasFile(entries, layout.CommitFile) || !hasFile(entries, layout.IndicatorFile):
		return false, nil
	case !hasFile(entries, layout.DigestFile), isOpen(at, entries):
		return true, nil
	}
	var names []string
	for _, e := range entries {
		if e.Dir {
			names = append(names, e.Name)
		}
	}
	return anyMarked(ctx, at, names) // otherwise it was renamed, and has lost its metadata
}

// looksBegun reports whether a directory holds only directories, and one of them is a
// pytree that Orbax has begun to write.
func looksBegun(ctx context.Context, at storage.Location, entries []storage.Info) bool {
	if slices.ContainsFunc(entries, func(e storage.Info) bool { return !e.Dir }) {
		return false
	}
	return slices.ContainsFunc(entries, func(e storage.Info) bool {
		unmerged, err := isUnmerged(ctx, at.Join(e.Name))
		return unmerged && err == nil
	})
}
