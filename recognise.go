package orbax

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/safetensors"
	"github.com/go-orbax/orbax/storage"
)

func isTemporary(name string) bool { return strings.Contains(name, storage.TempMarker) }

// isSession reports whether a path is that of a session of partial saves.
func isSession(dir string) bool { return strings.HasSuffix(dir, layout.PartialSuffix) }

// errReplaced is what reading fails with when the checkpoint has been overwritten
// since it was opened, or a deletion in it has begun: its files are then those of
// different saves, or gone.
var errReplaced = fmt.Errorf("%w: the checkpoint was changed while it was read; open it again", fault.ErrBusy)

// errDeleted is what reading fails with when the checkpoint has been deleted since it
// was opened.
var errDeleted = fmt.Errorf("%w: it was deleted while it was read", fault.ErrNotExist)

// errClosed is what everything fails with after Close.
var errClosed = fmt.Errorf("the checkpoint is closed: %w", fs.ErrClosed)

// isOpen returns errClosed after Close.
func (c *Checkpoint) isOpen() error {
	if c.closed.Load() {
		return errClosed
	}
	return nil
}

// maxTries is how often reading begins anew when the checkpoint is overwritten
// while it is read.
const maxTries = 4

// unchanged returns err, the outcome of having read from the checkpoint, unless
// the checkpoint has been replaced meanwhile, or has begun to lose a part.
func (c *Checkpoint) unchanged(ctx context.Context, err error) error {
	if err := c.isOpen(); err != nil {
		return err
	}
	if c.mark == "" {
		return err
	}
	doc, rerr := transfer.ReadFile(ctx, c.store, c.dir, c.mark, 0, -1)
	if rerr == nil && c.mark == layout.CheckpointFile && !c.recorded {
		_, serr := c.store.Stat(ctx, path.Join(c.dir, layout.DeletionFile))
		if serr == nil {
			return errReplaced
		}
		if !errors.Is(serr, fs.ErrNotExist) {
			rerr = serr
		}
	}
	switch {
	case rerr == nil && bytes.Equal(doc, c.doc):
		return err
	case rerr == nil:
		return errReplaced
	case errors.Is(rerr, fs.ErrNotExist):
		if _, serr := c.store.Stat(ctx, c.dir); errors.Is(serr, fs.ErrNotExist) {
			return errDeleted
		}
		return errReplaced
	case ctx.Err() != nil:
		rerr = ctx.Err()
	}
	// Without that look err may be about files of another save, or none: it is returned,
	// and matches nothing.
	if err == nil || errors.Is(err, rerr) {
		return rerr
	}
	return fmt.Errorf("%w (before, reading failed: %v)", rerr, err)
}

// open recognises a checkpoint.
func open(ctx context.Context, store storage.Store, dir string) (*Checkpoint, error) {
	for try := 1; ; try++ {
		c, err := openOnce(ctx, store, dir)
		if c != nil {
			err = c.unchanged(ctx, err)
		}
		if err == nil {
			return c, nil
		}
		if !errors.Is(err, errReplaced) || try == maxTries {
			return nil, err
		}
	}
}

// stat describes what is at dir, or fails with ErrNotExist.
func stat(ctx context.Context, store storage.Store, dir string) (storage.Info, error) {
	info, err := store.Stat(ctx, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fault.ErrNotExist
		if session, serr := store.Stat(ctx, dir+layout.PartialSuffix); serr == nil && session.Dir {
			err = fmt.Errorf("%w: its session of partial saves is not finalized", err)
		}
	case errors.Is(err, syscall.ENOTDIR):
		err = fmt.Errorf("%w: a part of the path is a file", fault.ErrNotExist)
	}
	return info, err
}

// openOnce is open without a second try after an overwrite that comes in between. With a
// checkpoint it returns what is wrong with it.
func openOnce(ctx context.Context, store storage.Store, dir string) (*Checkpoint, error) {
	info, err := stat(ctx, store, dir)
	switch {
	case err != nil:
		return nil, err
	case isTemporary(path.Base(dir)):
		return nil, fmt.Errorf("%w: this is the temporary directory of a save", fault.ErrIncomplete)
	case !info.Dir && path.Ext(dir) == safetensors.Ext:
		return foreign(store, dir), nil
	case !info.Dir && handler.IsFlaxFile(ctx, store, dir):
		return foreign(store, dir), nil
	case !info.Dir:
		return nil, noFile(path.Base(dir))
	case isSession(dir): // however far Orbax has come that was merging it
		return nil, notCheckpoint(ctx, store, dir)
	}
	doc, err := transfer.ReadFile(ctx, store, dir, layout.CheckpointFile, 0, -1)
	if errors.Is(err, fs.ErrNotExist) {
		return recogniseOther(ctx, store, dir)
	}
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{store: store, path: dir, dir: dir, mark: layout.CheckpointFile, doc: doc}
	record, err := transfer.ReadFile(ctx, store, dir, layout.DeletionFile, 0, -1)
	c.recorded = !errors.Is(err, fs.ErrNotExist)
	if err != nil && c.recorded {
		return c, err
	}
	sums, err := transfer.ReadFile(ctx, store, dir, layout.DigestFile, 0, -1)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return c, err
	default:
		if c.digests, err = layout.ParseDigests(sums); err != nil {
			return c, err
		}
	}
	deleted, err := c.digests.Rewritten(doc)
	if err != nil {
		return c, err
	}
	if c.meta, err = layout.ParseCheckpoint(doc); err != nil {
		return c, err
	}
	if c.recorded {
		if c.deletion, err = layout.ParseDeletion(record, doc); err == nil {
			err = c.digests.CheckRecord(c.deletion, record)
		}
		if err != nil {
			return c, err
		}
		c.deleting = c.deletion.Name
		delete(c.meta.Handlers, c.deleting)
	}
	entries, err := store.List(ctx, dir)
	if err != nil {
		return c, err
	}
	// A document that is listed and was not found before has come since, or the store has
	// failed to find it. Without its digests damage of a checkpoint would pass.
	if c.digests == nil && hasFile(entries, layout.DigestFile) || !c.recorded && hasFile(entries, layout.DeletionFile) {
		return c, errReplaced
	}
	c.findParts(entries)
	if !hasFile(entries, layout.CommitFile) {
		if err := c.unfinished(ctx); err != nil {
			return c, err
		}
	}
	if !c.flat && len(c.names) == 0 {
		return c, fmt.Errorf("%w: no checkpointable is left", fault.ErrCorrupt)
	}
	return c, c.forgetDeleted(deleted)
}

// forgetDeleted drops the digests that a deletion by Orbax makes void: those of
// the part that it is removing, and of those that it has removed before it wrote
// the metadata again, which are then as they should be.
func (c *Checkpoint) forgetDeleted(deleted []string) error {
	for _, name := range deleted {
		if c.has(name) {
			return fmt.Errorf("%w: %s has no handler of checkpointable %q, and its directory is there", fault.ErrCorrupt, layout.CheckpointFile, name)
		}
		c.digests.ForgetPart(name)
	}
	if c.deleting != "" {
		c.digests.ForgetPart(c.deleting)
	}
	if len(deleted) > 0 {
		c.digests.AddCheckpoint(c.doc)
	}
	return nil
}

// findParts finds the checkpointables: all directories but those with names of
// another meaning, and one that is being deleted.
func (c *Checkpoint) findParts(entries []storage.Info) {
	_, c.flat = c.meta.Handlers[""]
	if c.digests == nil && hasFile(entries, layout.TreeFile) { // we write none of these
		c.flat = true
	}
	if c.flat {
		return
	}
	for _, e := range entries {
		if e.Dir && layout.CheckName(e.Name) == nil && e.Name != c.deleting && e.Name != layout.NotebookDir {
			c.names = append(c.names, e.Name)
		}
	}
	// Orbax names the handlers of what it saves and of nothing else, in each release
	// that writes them, and makes a directory for each.
	for _, name := range slices.Sorted(maps.Keys(c.meta.Handlers)) {
		isPart := layout.CheckName(name) == nil
		dir := slices.ContainsFunc(entries, func(e storage.Info) bool { return e.Dir && e.Name == name })
		switch {
		case dir:
		case isPart:
			c.missing = append(c.missing, name)
		case name == layout.MetricsName:
			c.lostMetrics = true
		}
	}
}

// hasFile reports whether a file is among the entries of a directory.
func hasFile(entries []storage.Info, name string) bool {
	return slices.ContainsFunc(entries, func(e storage.Info) bool { return e.Name == name && !e.Dir })
}

// hasDigests reports whether a directory has the digests of a checkpoint: others
// may call a file like that too.
func hasDigests(ctx context.Context, store storage.Store, dir string) bool {
	doc, err := transfer.ReadFile(ctx, store, dir, layout.DigestFile, 0, -1)
	if err != nil {
		return false
	}
	sums, err := layout.ParseDigests(doc)
	return err == nil && sums.Has(layout.CheckpointFile)
}

// parts returns what the checkpoint consists of: its checkpointables, or the one
// without a name that it is itself.
func (c *Checkpoint) parts() []string {
	if c.flat {
		return []string{""}
	}
	return c.names
}

// hasTree reports whether a checkpointable has the metadata of a pytree.
func (c *Checkpoint) hasTree(ctx context.Context, name string) (bool, error) {
	if c.bare || c.digests.Has(path.Join(name, layout.TreeFile)) {
		return true, nil
	}
	dir := path.Join(c.dir, name)
	if found, err := treeIn(ctx, c.store, dir); err != nil || found {
		return found, err
	}
	return handler.IsRandomKey(ctx, c.store, dir)
}

// handlerType returns the type of the handler that saved a checkpointable. What
// is a pytree is one whatever the checkpoint says: Orbax records the handler of
// stateful objects for the pytrees that it finalizes from partial saves. Where
// nothing is recorded, the files tell.
func (c *Checkpoint) handlerType(ctx context.Context, name string) (string, error) {
	typ := c.meta.Handlers[name]
	if typ != "" && !handler.IsStateful(typ) {
		return typ, nil
	}
	isTree, err := c.hasTree(ctx, name)
	switch {
	case err != nil:
		return "", err
	case isTree:
		return "", nil
	case typ == "":
		return handler.TypeByFiles(ctx, c.readDir(name, nil))
	}
	return typ, nil
}

// lostTree returns an error for a checkpointable that was saved as a pytree and
// has lost the metadata of one. A pytree that Orbax finalized from partial saves, which
// has the type of a stateful object, is known by the databases of its parts.
func (c *Checkpoint) lostTree(ctx context.Context, name string) error {
	typ := c.meta.Handlers[name]
	if !isPyTree(typ) && !handler.IsStateful(typ) {
		return nil
	}
	isTree, err := c.hasTree(ctx, name)
	if err != nil || isTree {
		return err
	}
	if !isPyTree(typ) {
		entries, err := c.store.List(ctx, path.Join(c.dir, name))
		if err != nil || !hasFile(entries, ocdbt.ManifestName) || !slices.ContainsFunc(entries, ofProcess) {
			return err
		}
	}
	if handler.IsRandomKeyType(c.meta.Handlers[name]) {
		return fmt.Errorf("%w: the files of a random generator are missing in %s", fault.ErrCorrupt, path.Join(".", name))
	}
	return fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, path.Join(name, layout.TreeFile))
}

// isPyTree reports whether a recorded handler type is that of a pytree.
func isPyTree(typ string) bool { return isOf[handler.PyTreeHandler](typ) }

// isOf reports whether a recorded type is that of the standard handler H.
func isOf[H handler.Handler](typ string) bool {
	var standard *handler.Registry
	h, err := standard.ForLoad("", typ, nil)
	_, ok := h.(H)
	return err == nil && ok && standard.Knows(typ)
}

// checkWhole returns an error if checkpointables have been lost.
func (c *Checkpoint) checkWhole() error {
	var errs []error
	for _, name := range c.missing {
		errs = append(errs, c.check(name))
	}
	return errors.Join(errs...)
}

// pending is what refuses to change a checkpoint with an unfinished deletion.
func (c *Checkpoint) pending() error {
	return fmt.Errorf("%w: %w: that of its checkpointable %q; retry that first", fault.ErrBusy, fault.ErrDeletionInProgress, c.deleting)
}
