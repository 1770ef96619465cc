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
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

// Checkpoint is an open checkpoint. Its methods may be called by several
// goroutines. What it has loaded does not depend on it.
type Checkpoint struct {
	store   storage.Store
	path    string // as the caller gave it
	dir     string // in the store
	doc     []byte // _CHECKPOINT_METADATA, which has the times of this save
	meta    *layout.CheckpointMetadata
	digests *layout.Digests // nil for checkpoints of other writers
	names   []string        // of the checkpointables
	missing []string        // checkpointables that were written and have no directory
	// deleting is the checkpointable whose deletion was begun and not finished.
	deleting string
}

// Open opens the checkpoint at path and reads its metadata. Errors match
// ErrNotExist, ErrIncomplete (a temporary directory), ErrInvalidCheckpoint
// (something else; the message tells what, and the path that may be meant) or
// ErrCorrupt.
func Open(ctx context.Context, path string) (*Checkpoint, error) {
	store, dir, err := storage.Resolve(path)
	if err != nil {
		return nil, wrap("open", path, err)
	}
	ck, err := open(ctx, store, dir)
	if err != nil {
		return nil, wrap("open", path, err)
	}
	ck.path = path
	return ck, nil
}

// Close releases the checkpoint. It must not be used afterwards.
func (c *Checkpoint) Close() error { return nil }

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

// Names returns the names of the checkpointables, in order.
func (c *Checkpoint) Names() []string { return slices.Clone(c.names) }

func (c *Checkpoint) readDir(name string) *handler.ReadDir {
	var digests handler.Digests // a nil *layout.Digests in it would not be nil
	if c.digests != nil {
		digests = c.digests
	}
	return handler.NewReadDir(c.store, c.dir, name, digests, c.unchanged)
}

// has reports whether there is a checkpointable called name.
func (c *Checkpoint) has(name string) bool { return slices.Contains(c.names, name) }

// pick returns the checkpointable that is meant by name, as Orbax does: if it
// is empty "state", else the first that is a pytree.
func (c *Checkpoint) pick(ctx context.Context, name string) (string, error) {
	if name != "" {
		if err := layout.CheckName(name); err != nil {
			return "", err
		}
		return name, c.check(name)
	}
	for _, n := range slices.Concat([]string{layout.DefaultName}, c.names, c.missing) {
		if c.digests.Has(path.Join(n, layout.TreeFile)) {
			return n, c.check(n) // even if it is missing: no other may take its place
		}
		if !c.has(n) {
			continue
		}
		_, err := c.store.Stat(ctx, path.Join(c.dir, n, layout.TreeFile))
		if err == nil {
			return n, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	for _, n := range slices.Sorted(maps.Keys(c.meta.Handlers)) {
		if isPyTree(c.meta.Handlers[n]) {
			return "", fmt.Errorf("%w: %s of checkpointable %q is missing", fault.ErrCorrupt, layout.TreeFile, n)
		}
	}
	return "", fmt.Errorf("%w: no pytree among its checkpointables %q", fault.ErrStructure, c.names)
}

func (c *Checkpoint) check(name string) error {
	if name == c.deleting && name != "" {
		return fmt.Errorf("%w: checkpointable %q is being deleted", fault.ErrNotExist, name)
	}
	if slices.Contains(c.missing, name) {
		return fmt.Errorf("%w: the directory of checkpointable %q is missing", fault.ErrCorrupt, name)
	}
	if !c.has(name) {
		return fmt.Errorf("%w: checkpointable %q; there are %q", fault.ErrNotExist, name, c.names)
	}
	return nil
}

// Load is the function Load.
func (c *Checkpoint) Load(ctx context.Context, options ...LoadOption) (any, error) {
	v, err := c.loadOne(ctx, nil, options)
	return v, wrap("load", c.path, withCause(ctx, err))
}

// LoadInto is the function LoadInto.
func (c *Checkpoint) LoadInto(ctx context.Context, target any, options ...LoadOption) error {
	if target == nil {
		return wrap("load", c.path, fmt.Errorf("%w: cannot load into nil", fault.ErrLeafType))
	}
	_, err := c.loadOne(ctx, target, options)
	return wrap("load", c.path, withCause(ctx, err))
}

func (c *Checkpoint) loadOne(ctx context.Context, target any, options []LoadOption) (any, error) {
	cfg := newLoadConfig(options)
	name, err := c.pick(ctx, cfg.name)
	if err != nil {
		return nil, err
	}
	return c.loadPart(ctx, name, target, cfg)
}

func (c *Checkpoint) loadPart(ctx context.Context, name string, target any, cfg *loadConfig) (any, error) {
	typ := c.meta.Handlers[name]
	h, err := cfg.registry.ForLoad(name, typ, target)
	if err != nil {
		return nil, err
	}
	if _, ok := h.(handler.PyTreeHandler); ok && typ != "" && !cfg.registry.Knows(typ) && !c.hasTree(ctx, name) {
		return nil, fmt.Errorf("%w: saved by handler %s, which the registry does not have", fault.ErrUnsupported, typ)
	}
	if err := c.lostTree(ctx, name); err != nil {
		return nil, err
	}
	v, err := h.Load(ctx, c.readDir(name), target, cfg.handler)
	if err := c.unchanged(ctx, err); err != nil {
		return nil, err
	}
	return v, nil
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

// Tree opens the pytree that Name says, chosen as by Load: for those who want
// single leaves, or to stream the data.
func (c *Checkpoint) Tree(ctx context.Context, options ...LoadOption) (*handler.Tree, error) {
	name, err := c.pick(ctx, newLoadConfig(options).name)
	if err != nil {
		return nil, wrap("open", c.path, err)
	}
	if err := c.lostTree(ctx, name); err != nil {
		return nil, wrap("open", c.path, err)
	}
	t, err := handler.OpenTree(ctx, c.readDir(name))
	return t, wrap("open", c.path, err)
}

// LoadCheckpointables is the function LoadCheckpointables.
func (c *Checkpoint) LoadCheckpointables(ctx context.Context, targets map[string]any, options ...LoadCheckpointablesOption) (map[string]any, error) {
	cfg := newLoadConfig(options)
	if len(targets) == 0 {
		targets = map[string]any{}
		for _, name := range slices.Concat(c.names, c.missing) {
			targets[name] = nil
		}
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(targets)) {
		errs = append(errs, c.check(name))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, wrap("load", c.path, withCause(ctx, err))
	}
	var mu sync.Mutex
	loaded := make(map[string]any, len(targets))
	group, gctx := errgroup.WithContext(ctx)
	for name, target := range targets {
		group.Go(func() error {
			v, err := c.loadPart(gctx, name, target, cfg)
			if err != nil {
				return inPart(name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			loaded[name] = v
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, wrap("load", c.path, withCause(ctx, err))
	}
	return loaded, nil
}

// inPart names the checkpointable that an error belongs to.
func inPart(name string, err error) error {
	return fmt.Errorf("checkpointable %q: %w", name, err)
}
