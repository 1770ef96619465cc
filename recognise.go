package orbax

import (
	"bytes"
	"cmp"
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
	"github.com/go-orbax/orbax/storage"
)

func isTemporary(name string) bool { return strings.Contains(name, storage.TempMarker) }

// errReplaced is what reading fails with when the checkpoint has been overwritten
// since it was opened: its files are then those of different saves, or gone.
var errReplaced = fmt.Errorf("%w: the checkpoint was replaced while it was read; open it again", fault.ErrBusy)

// maxTries is how often reading begins anew when the checkpoint is overwritten
// while it is read.
const maxTries = 4

// unchanged returns err, the outcome of having read from the checkpoint, unless
// the checkpoint has been replaced meanwhile.
func (c *Checkpoint) unchanged(ctx context.Context, err error) error {
	doc, rerr := transfer.ReadFile(ctx, c.store, c.dir, layout.CheckpointFile, 0, -1)
	switch {
	case rerr == nil && bytes.Equal(doc, c.doc):
		return err
	case rerr == nil || errors.Is(rerr, fs.ErrNotExist):
		return errReplaced
	}
	if ctx.Err() != nil {
		return cmp.Or(err, rerr) // both say the same
	}
	return errors.Join(err, rerr)
}

// open recognises a checkpoint.
func open(ctx context.Context, store storage.Store, dir string) (*Checkpoint, error) {
	for try := 1; ; try++ {
		c, err := openOnce(ctx, store, dir)
		if c == nil {
			return nil, err
		}
		if err = c.unchanged(ctx, err); err == nil {
			return c, nil
		}
		if !errors.Is(err, errReplaced) || try == maxTries {
			return nil, err
		}
	}
}

// openOnce is open, but for an overwrite that comes in between. With a
// checkpoint it returns what is wrong with it.
func openOnce(ctx context.Context, store storage.Store, dir string) (*Checkpoint, error) {
	info, err := store.Stat(ctx, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.ErrNotExist
	case errors.Is(err, syscall.ENOTDIR):
		return nil, fmt.Errorf("%w: a part of the path is a file", fault.ErrNotExist)
	case err != nil:
		return nil, err
	case isTemporary(path.Base(dir)):
		return nil, fmt.Errorf("%w: this is the temporary directory of a save", fault.ErrIncomplete)
	case !info.Dir:
		return nil, fmt.Errorf("%w: it is a file", fault.ErrInvalidCheckpoint)
	}
	doc, err := transfer.ReadFile(ctx, store, dir, layout.CheckpointFile, 0, -1)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notCheckpoint(ctx, store, dir)
	}
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{store: store, path: dir, dir: dir, doc: doc}
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
	if c.meta, err = layout.ParseCheckpoint(doc); err != nil {
		return c, err
	}
	if err := c.findParts(ctx); err != nil {
		return c, err
	}
	if c.deleting != "" || !c.meta.CommitTime.IsZero() { // else it is no document that Orbax rewrote
		c.forgetDeleted()
	}
	return c, c.digests.Check(layout.CheckpointFile, doc)
}

// forgetDeleted drops the digests that a deletion by Orbax makes void: those of
// the part that it removed, or is removing, and that of the metadata, from
// which it takes the part's name.
func (c *Checkpoint) forgetDeleted() {
	gone := func(file string) bool {
		part, _, below := strings.Cut(file, "/")
		_, named := c.meta.Handlers[part]
		return below && (part == c.deleting || !named && !c.has(part))
	}
	if c.digests.Forget(gone) > 0 {
		c.digests.Forget(func(file string) bool { return file == layout.CheckpointFile })
	}
}

// findParts lists the checkpointables: all directories but those with names of
// another meaning, and one that is being deleted.
func (c *Checkpoint) findParts(ctx context.Context) error {
	entries, err := c.store.List(ctx, c.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Name {
		case layout.TreeFile:
			return errV0
		case layout.DeletionFile:
			doc, err := transfer.ReadFile(ctx, c.store, c.dir, e.Name, 0, -1)
			if errors.Is(err, fs.ErrNotExist) {
				continue // the deletion has just finished
			}
			if err == nil {
				c.deleting, err = layout.ParseDeletion(doc)
			}
			if err != nil {
				return err
			}
		}
	}
	for _, e := range entries {
		if e.Dir && layout.CheckName(e.Name) == nil && e.Name != c.deleting {
			c.names = append(c.names, e.Name)
		}
	}
	if c.digests != nil { // Orbax may name handlers of parts that were not saved
		for _, name := range slices.Sorted(maps.Keys(c.meta.Handlers)) {
			if name != c.deleting && !c.has(name) {
				c.missing = append(c.missing, name)
			}
		}
	}
	if len(c.names) == 0 {
		return fmt.Errorf("%w: no checkpointable is left", fault.ErrCorrupt)
	}
	return nil
}

// errV0 is what a checkpoint is refused with that is itself one pytree, without
// named checkpointables.
var errV0 = fmt.Errorf("%w: a checkpoint in the flat layout of Orbax v0", fault.ErrUnsupported)

// notCheckpoint says what a directory without checkpoint metadata may be.
func notCheckpoint(ctx context.Context, store storage.Store, dir string) error {
	has := func(elem ...string) bool {
		_, err := store.Stat(ctx, path.Join(append([]string{dir}, elem...)...))
		return err == nil
	}
	if has("..", layout.CheckpointFile) {
		return fmt.Errorf("%w: it is a checkpointable of the checkpoint %s; give that path, and Name(%q)",
			fault.ErrInvalidCheckpoint, path.Dir(dir), path.Base(dir))
	}
	switch {
	case has(layout.TreeFile):
		return errV0
	case has(layout.DigestFile) || has(layout.IndicatorFile) && has(layout.CommitFile):
		return fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, layout.CheckpointFile)
	}
	entries, err := store.List(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fault.ErrNotExist // removed meanwhile
	}
	if err != nil {
		return err
	}
	var steps []string
	for _, e := range entries {
		if e.Dir && !isTemporary(e.Name) && has(e.Name, layout.CheckpointFile) {
			steps = append(steps, e.Name)
		}
	}
	switch n := len(steps); {
	case n > 8:
		return fmt.Errorf("%w: it holds %d of them; give the path of one, such as %s", fault.ErrInvalidCheckpoint, n, path.Join(dir, steps[n-1]))
	case n > 0:
		return fmt.Errorf("%w: it holds some; give the path of one: %s", fault.ErrInvalidCheckpoint, strings.Join(steps, ", "))
	case len(entries) == 0:
		return fmt.Errorf("%w: the directory is empty", fault.ErrInvalidCheckpoint)
	}
	return fmt.Errorf("%w: no %s in it", fault.ErrInvalidCheckpoint, layout.CheckpointFile)
}

// hasTree reports whether a checkpointable has the metadata of a pytree.
func (c *Checkpoint) hasTree(ctx context.Context, name string) bool {
	file := path.Join(name, layout.TreeFile)
	_, err := c.store.Stat(ctx, path.Join(c.dir, file))
	return err == nil || c.digests.Has(file)
}

// lostTree returns an error for a checkpointable that was saved as a pytree and
// has lost the metadata of one.
func (c *Checkpoint) lostTree(ctx context.Context, name string) error {
	if !isPyTree(c.meta.Handlers[name]) || c.hasTree(ctx, name) {
		return nil
	}
	return fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, path.Join(name, layout.TreeFile))
}

// isPyTree reports whether a recorded handler type is that of a pytree.
func isPyTree(typ string) bool {
	var standard *handler.Registry
	h, err := standard.ForLoad("", typ, nil)
	_, ok := h.(handler.PyTreeHandler)
	return err == nil && ok && standard.Knows(typ)
}
