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

// lookComposite recognises a directory that lists the metadata of a checkpoint.
func lookComposite(ctx context.Context, store storage.Store, dir string, entries []storage.Info) (*Found, error) {
	// A document that is listed and is not found has gone since, or the store has failed to
	// find it. Without its digests damage of a checkpoint would pass.
	read := func(name string) ([]byte, error) {
		b, err := transfer.ReadFile(ctx, store, dir, name, 0, -1)
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrReplaced
		}
		return b, err
	}
	doc, err := read(layout.CheckpointFile)
	if err != nil {
		return nil, err
	}
	f := &Found{Store: store, Dir: dir, Document: doc, mark: mark{name: layout.CheckpointFile, version: versionIn(entries, layout.CheckpointFile)}}
	if f.mark.version == "" { // the entries may be those of the checkpoint before
		f.mark.contents = doc
		if entries, err = store.List(ctx, dir); err != nil {
			return f, err
		}
	}
	var record []byte
	if f.Recorded = hasEntry(entries, layout.DeletionFile); f.Recorded {
		if record, err = read(layout.DeletionFile); err != nil {
			return f, err
		}
	}
	if hasEntry(entries, layout.DigestFile) {
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

// forgetDeleted drops the digests that a deletion by Orbax makes void: those of
// the part that it is removing, and of those that it has removed before it wrote
// the metadata again, which are then as they should be.
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

// findItems finds the items: all directories but those with names of
// another meaning, and one that is being deleted.
func (f *Found) findItems(entries []storage.Info) {
	_, single := f.Meta.Handlers[""]
	if single || f.Digests == nil && hasFile(entries, layout.TreeFile) { // we write none of these
		f.Kind = Single
		return
	}
	for _, e := range entries {
		if e.Dir && layout.CheckName(e.Name) == nil && e.Name != f.Deleting && e.Name != layout.NotebookDir {
			f.Names = append(f.Names, e.Name)
		}
	}
	// Orbax names the handlers of what it saves and of nothing else, in each release
	// that writes them, and makes a directory for each.
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
