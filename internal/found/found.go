// Package found finds out what is at a path: the kind of checkpoint, its items, and
// whether it is still the same. It is the only package that does, so that the functions
// above it need not look again.
//
//	f, err := found.Look(ctx, at)
//	name, err := f.Choose(ctx, "", nil) // the item that a load without a name means
//	…                              // read its files
//	err = f.Unchanged(ctx, err)    // the outcome, unless it was replaced meanwhile
//
// An item is a checkpointable in the terms of Orbax.
package found

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/flax"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/safetensors"
	"github.com/go-orbax/orbax/storage"
)

// Kind is the layout of a checkpoint on its disk.
type Kind uint8

const (
	// Composite is a directory with metadata of the checkpoint and items, each in a
	// directory with its name.
	Composite Kind = iota
	// Single is an item without a name: the directory has metadata of the checkpoint and
	// the item's files.
	Single
	// Tree is a directory with a pytree's files and no metadata of a checkpoint, as
	// releases of Orbax before v1 wrote it.
	Tree
	// OldComposite is a directory of items without a document of its own, as the oldest
	// releases of Orbax wrote it.
	OldComposite
	// Key is the directory with the state of a random generator.
	Key
	// Arrays is a store of zarr arrays without metadata of a tree.
	Arrays
	// Tensors is a file of safetensors, or a directory of them.
	Tensors
	// Flax is a file of Flax.
	Flax
)

// HasItems reports whether items have names, each with its own directory.
func (k Kind) HasItems() bool { return k == Composite || k == OldComposite }

// IsBare reports whether there is no document of Orbax at all. Other programs write such
// files too, and nothing shows whether they are complete.
func (k Kind) IsBare() bool { return k > OldComposite }

// IsForeign reports whether there is no document of Orbax at the top. Such directories
// are read and never replaced.
func (k Kind) IsForeign() bool { return k >= OldComposite }

// Found is a checkpoint as [Look] has found it. Its methods change nothing. Several
// goroutines may call them.
type Found struct {
	Kind
	// At is where the checkpoint is read: in a snapshot of it where its store makes one.
	At storage.Location
	// Meta is the metadata of the checkpoint; empty if it has none.
	Meta *layout.CheckpointMetadata
	// Document is the text of Meta; nil if there is none.
	Document []byte
	// Digests is nil in checkpoints of other writers.
	Digests *layout.Digests
	Names   []string // of the items
	Missing []string // items that were saved and have no directory
	// HasMetrics says that metrics have a directory, LostMetrics that metrics were saved and
	// have none.
	HasMetrics  bool
	LostMetrics bool
	// Item is the only item that counts, if the given path was that of its directory. At
	// is then the checkpoint around it.
	Item string
	// Deleting is the item whose deletion has begun and not finished. Deletion is the
	// record of that deletion, and Recorded says whether there is a record, valid or not.
	Deleting string
	Deletion *layout.Deletion
	Recorded bool

	mark mark
	// live is At in the store itself. If At is in another one, a snapshot, stale is not nil:
	// all that is read comes from one look at the directory. It becomes true when a file has
	// changed since.
	live  storage.Location
	stale *atomic.Bool
}

// Stored returns the location of the checkpoint at which every file is read, even if its
// contents are known.
func (f *Found) Stored() storage.Location {
	at := f.At
	if snapshot, ok := at.Store.(pinned); ok {
		snapshot.kept = nil
		at.Store = snapshot
	}
	return at
}

// Live returns the checkpoint to be read from its store itself, which shows what changes.
func (f *Found) Live() *Found {
	live := *f
	live.At, live.stale = f.live, nil
	return &live
}

// IsTemporary reports whether a name marks an unfinished directory.
func IsTemporary(name string) bool { return strings.Contains(name, storage.TempMarker) }

// IsSession reports whether a path is the path of a session of partial saves.
func IsSession(dir string) bool { return strings.HasSuffix(dir, layout.PartialSuffix) }

// Look finds out what is at a location. It fails with ErrNotExist, ErrIncomplete,
// ErrInvalidCheckpoint or ErrCorrupt in the cases that orbax.Open documents.
func Look(ctx context.Context, at storage.Location) (*Found, error) {
	for try := 1; ; try++ {
		f, err := lookOnce(ctx, at)
		if f != nil && (err != nil || !f.proven()) {
			err = f.Unchanged(ctx, err)
		}
		if err == nil {
			f.mark.keep(f.Document)
			return f, nil
		}
		if !errors.Is(err, ErrReplaced) || try == MaxTries {
			return nil, err
		}
	}
}

// Stat returns the entry at a location, or an error that matches ErrNotExist.
func Stat(ctx context.Context, at storage.Location) (storage.Info, error) {
	info, err := at.Stat(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fault.ErrNotExist
		if session, serr := at.Store.Stat(ctx, at.Name+layout.PartialSuffix); serr == nil && session.Dir {
			err = fmt.Errorf("%w: its session of partial saves is not finalized", err)
		} else {
			err = workAt(ctx, at, err)
		}
	case errors.Is(err, syscall.ENOTDIR):
		err = fmt.Errorf("%w: a part of the path is a file", fault.ErrNotExist)
	}
	return info, err
}

// lookOnce is Look without another try after an overwrite. With a checkpoint it may
// return the error that makes the checkpoint unreadable.
func lookOnce(ctx context.Context, live storage.Location) (*Found, error) {
	if IsTemporary(live.Base()) {
		if _, err := Stat(ctx, live); err != nil {
			return nil, err
		}
		return nil, workAt(ctx, live, fmt.Errorf("%w: this is the temporary directory of a save", fault.ErrIncomplete))
	}
	at, stale, err := pin(ctx, live)
	if err != nil {
		return nil, err
	}
	f, err := lookIn(ctx, at, live)
	if f != nil && f.live.Store == nil { // that of an item is the checkpoint around it
		f.live, f.stale = live, stale
	}
	if f == nil && err != nil && stale != nil && stale.Load() {
		err = ErrReplaced
	}
	return f, err
}

// lookIn recognises what is at a location. at is the location to read from, which may be in
// a snapshot, and live is the same in the store itself.
func lookIn(ctx context.Context, at, live storage.Location) (*Found, error) {
	entries, err := at.List(ctx)
	switch {
	case err != nil:
		return lookFile(ctx, at, err)
	case IsSession(at.Name): // no matter how far a merge by Orbax has got
		return nil, NotCheckpoint(ctx, at)
	case hasEntry(entries, layout.CheckpointFile):
		return lookComposite(ctx, at, live, entries)
	}
	if err := confirmAbsent(ctx, at, layout.CheckpointFile); err != nil {
		return nil, err
	}
	return lookElsewhere(ctx, at, live, entries)
}

// lookFile recognises a file, or returns the reason why there is no checkpoint. failed is
// the error of listing it as a directory.
func lookFile(ctx context.Context, at storage.Location, failed error) (*Found, error) {
	info, err := Stat(ctx, at)
	switch {
	case err != nil:
		return nil, err
	case info.Dir && errors.Is(failed, fs.ErrNotExist):
		return nil, ErrReplaced // it appeared after the listing
	case info.Dir:
		return nil, failed
	case path.Ext(at.Name) == safetensors.Ext:
		return only(Tensors, at), nil
	case flax.IsFile(ctx, at):
		return only(Flax, at), nil
	}
	return nil, noFile(at.Base())
}
