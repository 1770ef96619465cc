package found

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/storage"
)

// A checkpoint is committed in one of two ways. By rename: it is written under a
// temporary name, so that what has its final name is complete. Or by marker: it is
// written in its final place, and complete when layout.CommitFile is there. Orbax
// renames on file systems and uses the marker on Google Cloud Storage and wherever
// AtomicityOptions say so.
//
// Where the marker is, a checkpoint is complete. Where it is not, a checkpoint may be
// complete nevertheless: releases of Orbax before August 2026 wrote no marker into
// what they renamed. Then the documents decide; see Checkpoint.unfinished. They
// cannot do so in the moment between the last document and the marker of a save by
// Orbax's Save functions, and of an item without a step around it. All that there is
// to load is in place by then, and so such a checkpoint counts as complete.

// unfinished returns fault.ErrUnfinished if the documents of a checkpoint without the
// marker say that it is committed by that. It looks at nothing but the checkpointables.
func (f *Found) unfinished(ctx context.Context) error {
	if f.Meta.Uncommitted {
		return fault.ErrUnfinished
	}
	uncertain := f.Meta.CommitTime.IsZero() // the document is empty, or of an old release
	if uncertain && f.HasItems() && len(f.Names)+len(f.Missing) == 0 && f.Deleting == "" {
		return fault.ErrUnfinished // all that there is is the beginning of that document
	}
	// Who commits by marker does so with every checkpointable first.
	if marked, err := anyMarked(ctx, f.Store, f.Dir, f.Names); marked || err != nil {
		return cmp.Or(err, fault.ErrUnfinished)
	}
	if !uncertain {
		return nil
	}
	for _, name := range f.Items() {
		if unmerged, err := isUnmerged(ctx, f.Store, path.Join(f.Dir, name)); unmerged || err != nil {
			return cmp.Or(err, fault.ErrUnfinished)
		}
	}
	return nil
}

// anyMarked reports whether one of the checkpointables in dir has a marker of its own.
func anyMarked(ctx context.Context, store storage.Store, dir string, names []string) (bool, error) {
	for _, name := range names {
		info, err := store.Stat(ctx, path.Join(dir, name, layout.CommitFile))
		if err == nil && !info.Dir {
			return true, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return false, nil
}

// isUnmerged reports whether a pytree's directory has the databases of processes and
// not yet the one that Orbax makes of them.
func isUnmerged(ctx context.Context, store storage.Store, dir string) (bool, error) {
	entries, err := store.List(ctx, dir)
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

// hasBegun reports whether a directory without metadata of a checkpoint, and without
// its marker, is what a save by marker has made of it so far.
func hasBegun(ctx context.Context, store storage.Store, dir string, entries []storage.Info) (bool, error) {
	switch {
	case hasFile(entries, layout.CommitFile) || !hasFile(entries, layout.IndicatorFile):
		return false, nil
	case !hasFile(entries, layout.DigestFile):
		return true, nil
	}
	var names []string
	for _, e := range entries {
		if e.Dir {
			names = append(names, e.Name)
		}
	}
	return anyMarked(ctx, store, dir, names) // else it was renamed, and has lost its metadata
}

// looksBegun reports whether there is nothing in a directory but others, and one of
// them is that of a pytree that Orbax has begun to write.
func looksBegun(ctx context.Context, store storage.Store, dir string, entries []storage.Info) bool {
	if slices.ContainsFunc(entries, func(e storage.Info) bool { return !e.Dir }) {
		return false
	}
	return slices.ContainsFunc(entries, func(e storage.Info) bool {
		unmerged, err := isUnmerged(ctx, store, path.Join(dir, e.Name))
		return unmerged && err == nil
	})
}
