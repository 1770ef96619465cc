package orbax

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

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

// Close releases the checkpoint.
func (c *Checkpoint) Close() error { return nil }

func isTemporary(name string) bool { return strings.Contains(name, storage.TempMarker) }

// open recognises a checkpoint.
func open(ctx context.Context, store storage.Store, dir string) (*Checkpoint, error) {
	info, err := store.Stat(ctx, dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.ErrNotExist
	case err != nil:
		return nil, err
	case isTemporary(path.Base(dir)):
		return nil, fmt.Errorf("%w: this is the temporary directory of a save", fault.ErrIncomplete)
	case !info.Dir:
		return nil, fmt.Errorf("%w: it is a file", fault.ErrInvalid)
	}
	doc, err := transfer.ReadFile(ctx, store, dir, layout.CheckpointFile, 0, -1)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notCheckpoint(ctx, store, dir)
	}
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{store: store, path: dir, dir: dir}
	sums, err := transfer.ReadFile(ctx, store, dir, layout.DigestFile, 0, -1)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if c.digests, err = layout.ParseDigests(sums); err != nil {
			return nil, err
		}
	}
	if c.meta, err = layout.ParseCheckpoint(doc); err != nil {
		return nil, err
	}
	if err := c.findParts(ctx); err != nil {
		return nil, err
	}
	c.forgetDeleted()
	if err := c.digests.Check(layout.CheckpointFile, doc); err != nil {
		return nil, err
	}
	return c, nil
}

// forgetDeleted drops the digests that a deletion by Orbax makes void: those of
// the part that it removed, or is removing, and that of the metadata, from
// which it takes the part's name.
func (c *Checkpoint) forgetDeleted() {
	deleted := map[string]bool{}
	for _, file := range c.digests.Names() {
		part, _, below := strings.Cut(file, "/")
		_, named := c.meta.Handlers[part]
		if below && (part == c.deleting || !c.has(part) && !named) {
			deleted[part] = true
		}
	}
	if len(deleted) > 0 {
		c.digests.Forget(func(file string) bool {
			part, _, _ := strings.Cut(file, "/")
			return deleted[part] || file == layout.CheckpointFile
		})
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
		if e.Name == layout.DeletionFile {
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
	if c.digests == nil {
		return nil // Orbax may name handlers of parts that were not saved
	}
	for _, name := range slices.Sorted(maps.Keys(c.meta.Handlers)) {
		if name != c.deleting && !c.has(name) {
			c.missing = append(c.missing, name)
		}
	}
	return nil
}

// notCheckpoint says what a directory without checkpoint metadata may be.
func notCheckpoint(ctx context.Context, store storage.Store, dir string) error {
	has := func(parts ...string) bool {
		_, err := store.Stat(ctx, path.Join(append([]string{dir}, parts...)...))
		return err == nil
	}
	if has("..", layout.CheckpointFile) {
		return fmt.Errorf("%w: it is a part of the checkpoint %s; give that path, and the part by Name(%q)",
			fault.ErrInvalid, path.Dir(dir), path.Base(dir))
	}
	if has(layout.TreeFile) {
		return fmt.Errorf("%w: a checkpoint without %s, in a layout of Orbax v0", fault.ErrUnsupported, layout.CheckpointFile)
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
		return fmt.Errorf("%w: it holds %d of them; give the path of one, such as %s", fault.ErrInvalid, n, path.Join(dir, steps[n-1]))
	case n > 0:
		return fmt.Errorf("%w: it holds some; give the path of one: %s", fault.ErrInvalid, strings.Join(steps, ", "))
	case len(entries) == 0:
		return fmt.Errorf("%w: the directory is empty", fault.ErrInvalid)
	}
	return fmt.Errorf("%w: no %s in it", fault.ErrInvalid, layout.CheckpointFile)
}

// Names returns the names of the checkpointables, in order.
func (c *Checkpoint) Names() []string { return slices.Clone(c.names) }

func (c *Checkpoint) readDir(name string) *handler.ReadDir {
	var digests handler.Digests // a nil *layout.Digests in it would not be nil
	if c.digests != nil {
		digests = c.digests
	}
	return handler.NewReadDir(c.store, c.dir, name, digests)
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
	return "", fmt.Errorf("%w: no pytree among its parts %q", fault.ErrNotExist, c.names)
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
	return c.loadItem(ctx, name, target, cfg)
}

func (c *Checkpoint) loadItem(ctx context.Context, name string, target any, cfg *loadConfig) (any, error) {
	h, err := cfg.registry.ForLoad(name, c.meta.Handlers[name], target)
	if err != nil {
		return nil, err
	}
	return h.Load(ctx, c.readDir(name), target, cfg.handler)
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
			v, err := c.loadItem(gctx, name, target, cfg)
			if err != nil {
				return inItem(name, true, err)
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

// inItem names the checkpointable that an error belongs to, where the caller
// has named several.
func inItem(name string, several bool, err error) error {
	if !several {
		return err
	}
	return fmt.Errorf("checkpointable %q: %w", name, err)
}

// CheckpointMetadata describes a checkpoint.
type CheckpointMetadata struct {
	Path       string
	InitTime   time.Time // when the save began; zero if unknown
	CommitTime time.Time // when it was complete; zero if unknown
	// Custom is the custom metadata: map[string]any or []any, with numbers as
	// int or float64.
	Custom any
	// Tree describes the pytree that was asked for; nil from
	// CheckpointablesMetadata.
	Tree *handler.TreeMetadata
	// Checkpointables has what each part's handler tells of it: for a pytree a
	// *handler.TreeMetadata, nil for parts of other kinds. From Metadata it has
	// the one part that was asked for.
	Checkpointables map[string]any
	// Handlers has the type that is recorded for the handler of each part, see
	// handler.Handler; other writers may record none.
	Handlers map[string]string
}

// Metadata is the function Metadata.
func (c *Checkpoint) Metadata(ctx context.Context, options ...LoadOption) (*CheckpointMetadata, error) {
	cfg := newLoadConfig(options)
	name, err := c.pick(ctx, cfg.name)
	if err != nil {
		return nil, wrap("metadata", c.path, err)
	}
	m, err := c.metadata(ctx, cfg, name)
	if err != nil {
		return nil, err
	}
	m.Tree, _ = m.Checkpointables[name].(*handler.TreeMetadata)
	return m, nil
}

// CheckpointablesMetadata is the function CheckpointablesMetadata.
func (c *Checkpoint) CheckpointablesMetadata(ctx context.Context, options ...LoadCheckpointablesOption) (*CheckpointMetadata, error) {
	return c.metadata(ctx, newLoadConfig(options), c.names...)
}

func (c *Checkpoint) metadata(ctx context.Context, cfg *loadConfig, names ...string) (*CheckpointMetadata, error) {
	m := &CheckpointMetadata{
		Path:            c.path,
		InitTime:        c.meta.InitTime,
		CommitTime:      c.meta.CommitTime,
		Custom:          c.meta.Custom,
		Checkpointables: map[string]any{},
		Handlers:        maps.Clone(c.meta.Handlers),
	}
	for _, name := range names {
		typ := c.meta.Handlers[name]
		h, err := cfg.registry.ForLoad(name, typ, nil)
		if err == nil {
			m.Checkpointables[name], err = h.Metadata(ctx, c.readDir(name))
		}
		if errors.Is(err, fs.ErrNotExist) && typ != "" && !cfg.registry.Knows(typ) {
			err = nil // of an unknown kind, and not a pytree either
		}
		if err != nil {
			return nil, wrap("metadata", c.path, inItem(name, true, err))
		}
	}
	return m, nil
}

func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(t error) bool { return errors.Is(err, t) })
}
