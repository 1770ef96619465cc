package found

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

// lookComposite recognises a directory whose listing has the metadata of a checkpoint. live
// is the directory in the store itself.
func lookComposite(ctx context.Context, at, live storage.Location, entries []storage.Info) (*Found, error) {
	if isOpen(at, entries) {
		return nil, unfinishedAt(ctx, live)
	}
	// A document that is listed and not found has been removed since, or the store has
	// failed to find it. Without the digests, damage to a checkpoint would go unnoticed.
	read := func(name string) ([]byte, error) {
		b, err := transfer.ReadFile(ctx, at, name, 0, -1)
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrReplaced
		}
		return b, err
	}
	if snapshot, ok := at.Store.(pinned); ok { // the order does not matter
		switch {
		case !hasFile(entries, layout.DigestFile), hasFile(entries, layout.DeletionFile):
			read = ahead(entries, read, layout.CheckpointFile, layout.DeletionFile, layout.DigestFile)
		default:
			read = ahead(entries, read, layout.DigestFile)
			if doc, err := read(layout.DigestFile); err == nil {
				if sums, err := layout.ParseDigests(doc); err == nil {
					snapshot.keep(ctx, at, sums)
				}
			}
		}
	}
	doc, err := read(layout.CheckpointFile)
	if err != nil {
		return nil, err
	}
	f := &Found{At: at, Document: doc, mark: mark{name: layout.CheckpointFile, version: versionIn(entries, layout.CheckpointFile)}}
	if f.mark.version == "" { // the entries may be those of the replaced checkpoint
		f.mark.contents = doc
		if entries, err = at.List(ctx); err != nil {
			return f, err
		}
	}
	var record []byte
	if f.Recorded = hasEntry(entries, layout.DeletionFile); f.Recorded {
		if record, err = read(layout.DeletionFile); err != nil {
			return f, err
		}
	}
	if !hasEntry(entries, layout.DigestFile) { // and so nothing proves that the listing is whole
		if err := confirmAbsent(ctx, at, layout.DigestFile); err != nil {
			return f, err
		}
		if !f.Recorded {
			if err := confirmAbsent(ctx, at, layout.DeletionFile); err != nil {
				return f, err
			}
		}
	} else {
		sums, err := read(layout.DigestFile)
		if err != nil {
			return f, err
		}
		if f.Digests, err = layout.ParseDigests(sums); err != nil {
			return f, err
		}
	}
	deleted, err := f.Digests.Rewritten(doc)
	if err != nil {
		return f, err
	}
	if f.Meta, err = layout.ParseCheckpoint(doc); err != nil {
		return f, err
	}
	if f.Recorded {
		if f.Deletion, err = layout.ParseDeletion(record, doc); err == nil {
			err = f.Digests.CheckRecord(f.Deletion, record)
		}
		if err != nil {
			return f, err
		}
		f.Deleting = f.Deletion.Name
		delete(f.Meta.Handlers, f.Deleting)
	}
	f.findItems(entries)
	if isOpen(at, entries) { // it was listed anew
		return f, unfinishedAt(ctx, live)
	}
	if !hasFile(entries, layout.CommitFile) {
		if err := f.unfinished(ctx); err != nil {
			return f, err
		}
	}
	if f.HasItems() && len(f.Names) == 0 {
		return f, fmt.Errorf("%w: no checkpointable is left", fault.ErrCorrupt)
	}
	return f, f.forgetDeleted(deleted)
}

// forgetDeleted drops the digests that a deletion by Orbax makes void. These are the
// digests of the item that is being removed, and of the items that Orbax removed before
// it wrote the metadata again. The new metadata then gets a digest.
func (f *Found) forgetDeleted(deleted []string) error {
	for _, name := range deleted {
		if f.Has(name) {
			return fmt.Errorf("%w: %s has no handler of checkpointable %q, and its directory is there", fault.ErrCorrupt, layout.CheckpointFile, name)
		}
		f.Digests.ForgetPart(name)
	}
	if f.Deleting != "" {
		f.Digests.ForgetPart(f.Deleting)
	}
	if len(deleted) > 0 {
		f.Digests.AddCheckpoint(f.Document)
	}
	return nil
}

// proven reports whether the documents are proven to be of the save whose directory was
// listed: the digests say that they belong together, and they name what is listed.
func (f *Found) proven() bool {
	_, metrics := f.Meta.Handlers[layout.MetricsName]
	named := func(name string) bool { _, ok := f.Meta.Handlers[name]; return ok }
	return f.Digests != nil && len(f.Missing) == 0 && metrics == f.HasMetrics &&
		!slices.ContainsFunc(f.Names, func(name string) bool { return !named(name) })
}

// findItems finds the items: all directories except those whose names have another
// meaning, and an item that is being deleted.
func (f *Found) findItems(entries []storage.Info) {
	_, single := f.Meta.Handlers[""]
	if single || f.Digests == nil && hasFile(entries, layout.TreeFile) { // this package writes neither
		f.Kind = Single
		return
	}
	for _, e := range entries {
		if e.Dir && e.Name == layout.MetricsName {
			f.HasMetrics = true
		}
		if e.Dir && layout.CheckName(e.Name) == nil && e.Name != f.Deleting && e.Name != layout.NotebookDir {
			f.Names = append(f.Names, e.Name)
		}
	}
	// In every release that records handlers, Orbax records them for the items that it
	// saves and for nothing else, and makes a directory for each.
	for _, name := range slices.Sorted(maps.Keys(f.Meta.Handlers)) {
		isPart := layout.CheckName(name) == nil
		dir := slices.ContainsFunc(entries, func(e storage.Info) bool { return e.Dir && e.Name == name })
		switch {
		case dir:
		case isPart:
			f.Missing = append(f.Missing, name)
		case name == layout.MetricsName:
			f.LostMetrics = true
		}
	}
}
