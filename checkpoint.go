package orbax

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/found"
	"github.com/go-orbax/orbax/internal/handover"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// Checkpoint is an open checkpoint. Several goroutines may call its methods. Values that
// it has loaded stay valid after Close, except [Mapped] arrays.
type Checkpoint struct {
	found  *found.Found
	path   string // as the caller gave it
	closed atomic.Bool

	opened config.Open // how it was opened

	mapped view.Mappings
}

// Open opens the checkpoint at path and reads its metadata. Errors match [ErrNotExist],
// [ErrIncomplete] (a temporary directory, or a checkpoint that is committed by its file
// commit_success.txt and lacks it), [ErrInvalidCheckpoint] (something else; the message
// names it, and the path that may be meant) or [ErrCorrupt].
//
// The path of a checkpointable, <checkpoint>/params for instance, opens the checkpoint as
// if it had that checkpointable alone, and Load loads it without Name.
//
// Symbolic links inside the checkpoint may lead to other files of it; see [FollowLinks].
// The path itself may be a link to anywhere.
//
// To open a checkpoint in an embed.FS or a zip.Reader, pass [In] with storage.FS, and its
// name there; "." is the root. Checkpoints have files whose names begin with an
// underscore, which a go:embed directive includes only with all:
//
//	//go:embed all:ckpt
//	var files embed.FS
//
//	ck, err := orbax.Open(ctx, "ckpt", orbax.In(storage.FS(files)))
func Open(ctx context.Context, path string, options ...OpenOption) (*Checkpoint, error) {
	c := config.NewOpen(options)
	at, err := config.Locate(ctx, c.Store, path)
	if err != nil {
		return nil, wrap(ctx, "open", path, err)
	}
	at.Store = storage.Confine(at.Store, at.Name, c.FollowLinks)
	f, err := found.Look(ctx, at)
	if err != nil {
		return nil, wrap(ctx, "open", path, err)
	}
	return &Checkpoint{found: f, path: path, opened: *c}, nil
}

// Close releases the checkpoint. Loaded values stay valid, except [Mapped] arrays. The
// checkpoint, and trees that it has opened, fail afterwards with an error that matches
// fs.ErrClosed. Running mapped loads fail in the same way; Close waits for them.
func (c *Checkpoint) Close() error {
	c.closed.Store(true)
	return wrap(context.Background(), "close", c.path, c.mapped.Close())
}

// Names returns the sorted names of the checkpointables. A checkpoint without named
// checkpointables, as Orbax v0 wrote them and as other formats are, has none.
func (c *Checkpoint) Names() []string { return slices.Clone(c.found.Names) }

// errClosed reports a call after Close.
var errClosed = fmt.Errorf("the checkpoint is closed: %w", fs.ErrClosed)

// isOpen returns errClosed after Close.
func (c *Checkpoint) isOpen() error {
	if c.closed.Load() {
		return errClosed
	}
	return nil
}

// unchanged returns err, the outcome of having read from the checkpoint, unless it has been
// closed or replaced meanwhile.
func (c *Checkpoint) unchanged(ctx context.Context, err error) error {
	if err := c.isOpen(); err != nil {
		return err
	}
	return c.found.Unchanged(ctx, err)
}

// pick returns the checkpointable that is meant by name, as Orbax does: if it
// is empty "state", else the first that is a pytree, or a tree by a handler of r.
func (c *Checkpoint) pick(ctx context.Context, name string, r *handler.Registry) (string, error) {
	name, err := c.found.Choose(ctx, name, func(item string) bool { return c.ownTrees(item, r) != nil })
	if err != nil {
		err = c.unchanged(ctx, err)
	}
	return name, err
}

// pickFor is pick for what has no target to fill.
func (c *Checkpoint) pickFor(ctx context.Context, cfg *loadConfig) (string, error) {
	if err := cmp.Or(cfg.checkTarget(nil), c.checkReading(cfg)); err != nil {
		return "", err
	}
	return c.pick(ctx, cfg.Name, cfg.Registry)
}

// PyTrees returns the sorted names of the checkpointables that are pytrees. A load
// without [Name] takes one of them. There are none if the checkpoint is itself a pytree,
// without a name. A directory that cannot be read is an *[Error].
func (c *Checkpoint) PyTrees(ctx context.Context) ([]string, error) {
	names, err := c.found.PyTrees(ctx)
	return names, wrap(ctx, "open", c.path, cmp.Or(c.isOpen(), err))
}

// Load reads a checkpointable as it was saved; see the function [Load].
func (c *Checkpoint) Load(ctx context.Context, options ...LoadOption) (any, error) {
	v, err := c.loadOne(ctx, nil, options)
	return v, wrap(ctx, "load", c.path, err)
}

// LoadInto reads a checkpointable into target; see the function [LoadInto].
func (c *Checkpoint) LoadInto(ctx context.Context, target any, options ...LoadOption) error {
	if target == nil {
		return wrap(ctx, "load", c.path, fmt.Errorf("%w: cannot load into nil", fault.ErrLeafType))
	}
	_, err := c.loadOne(ctx, target, options)
	return wrap(ctx, "load", c.path, err)
}

// LoadAbstract reads the leaves that abstract describes; see the function [LoadAbstract].
func (c *Checkpoint) LoadAbstract(ctx context.Context, abstract any, options ...LoadOption) (any, error) {
	if m, ok := abstract.(*CheckpointMetadata); ok {
		if m == nil || m.Tree == nil {
			return nil, wrap(ctx, "load", c.path, fmt.Errorf("%w: the metadata describe no tree; those from Metadata do", fault.ErrStructure))
		}
		abstract = m.Tree
	}
	v, err := c.loadOne(ctx, handler.Abstract{Tree: abstract}, options)
	return v, wrap(ctx, "load", c.path, err)
}

func (c *Checkpoint) loadOne(ctx context.Context, target any, options []LoadOption) (v any, err error) {
	cfg := c.config(options)
	o := newObserver("load", &cfg.Common, cfg.engine.Meter)
	defer func() { o.end(err) }()
	s := cfg.Session(c.path)
	v, err = c.loadPicked(handover.With(ctx, s), target, cfg)
	if err = endTogether(ctx, "load", c.path, s, err); err != nil {
		return nil, err
	}
	return v, nil
}

// loadPicked loads the checkpointable that the options name.
func (c *Checkpoint) loadPicked(ctx context.Context, target any, cfg *loadConfig) (any, error) {
	if err := cmp.Or(cfg.checkTarget(target), c.checkLoading(cfg)); err != nil {
		return nil, err
	}
	name, err := c.pick(ctx, cfg.Name, cfg.Registry)
	if err != nil {
		return nil, err
	}
	v, err := c.loadPart(ctx, name, target, cfg)
	if cfg.Name == "" && isMismatch(err) && name != layout.DefaultName && len(c.found.Names) > 1 {
		err = errors.Join(err, fmt.Errorf("%w: it was %q that was to be loaded, the first pytree of the checkpointables %q; Name chooses another",
			fault.ErrStructure, name, c.found.Names))
	}
	return v, err
}

// isMismatch reports whether an error says that something else is stored than what is
// asked for.
func isMismatch(err error) bool {
	return errors.Is(err, fault.ErrStructure) || errors.Is(err, fault.ErrShape) || errors.Is(err, fault.ErrDType)
}

func (c *Checkpoint) loadPart(ctx context.Context, name string, target any, cfg *loadConfig) (any, error) {
	handover.From(ctx).SetItem(name)
	v, err := c.loadUnchecked(ctx, name, target, cfg)
	if err := c.outcome(ctx, cfg, err); err != nil {
		return nil, err
	}
	return v, nil
}

// loadUnchecked is loadPart without the look for an overwrite that came in between.
func (c *Checkpoint) loadUnchecked(ctx context.Context, name string, target any, cfg *loadConfig) (any, error) {
	typ, err := c.found.HandlerType(ctx, name)
	if err != nil {
		return nil, err
	}
	h, err := cfg.Registry.ForLoad(name, typ, target)
	if err != nil {
		return nil, err
	}
	if _, ok := h.(handler.TreeHandler); ok && typ != "" && !cfg.Registry.Knows(typ) {
		if isTree, err := c.found.HasTree(ctx, name); err != nil {
			return nil, err
		} else if !isTree {
			return nil, fmt.Errorf("%w: saved by handler %s, which the registry does not have; give it with the option Handlers", fault.ErrUnsupported, typ)
		}
	}
	if err := cfg.checkViews(h); err != nil {
		return nil, err
	}
	if err := c.found.LostTree(ctx, name); err != nil {
		return nil, err
	}
	return h.Load(ctx, c.readDir(name, cfg), target, c.loadOptions(cfg))
}

// Tree opens a pytree, to read single leaves or regions of them. [Name] and its default
// choose the pytree as in [Load]. Options that select what is loaded apply; options about
// a target are refused. The error of Tree is an *[Error], as in all methods of a
// Checkpoint. Most errors of the tree and its leaves are a *[LeafError]; see package
// view.
func (c *Checkpoint) Tree(ctx context.Context, options ...LoadOption) (*view.Tree, error) {
	return c.treeFor(ctx, "open", options)
}

// treeFor is Tree for the operation op.
func (c *Checkpoint) treeFor(ctx context.Context, op string, options []LoadOption) (*view.Tree, error) {
	cfg := c.config(options)
	name, err := c.pickFor(ctx, cfg)
	if err != nil {
		return nil, wrap(ctx, op, c.path, err)
	}
	t, err := c.tree(ctx, name, cfg)
	return t, wrap(ctx, op, c.path, err)
}

func (c *Checkpoint) tree(ctx context.Context, name string, cfg *loadConfig) (t *view.Tree, err error) {
	if err = c.found.LostTree(ctx, name); err == nil {
		t, err = cfg.Handler.OpenView(ctx, c.treeHandler(name, cfg.Registry), c.readDir(name, cfg))
	}
	if typ := c.found.Meta.Handlers[name]; typ != "" && errors.Is(err, fault.ErrStructure) {
		if isTree, herr := c.found.HasTree(ctx, name); !isTree && herr == nil {
			err = fmt.Errorf("%w: not a pytree: %q was saved by %s", fault.ErrStructure, name, typ)
		}
	}
	if err := c.outcome(ctx, cfg, err); err != nil {
		return nil, err
	}
	return t, nil
}

// LoadCheckpointables reads several checkpointables; see the function
// [LoadCheckpointables].
func (c *Checkpoint) LoadCheckpointables(ctx context.Context, targets map[string]any, options ...LoadCheckpointablesOption) (_ map[string]any, err error) {
	cfg := newLoadConfig(options)
	o := newObserver("load", &cfg.Common, cfg.engine.Meter)
	defer func() { o.end(err) }()
	s := cfg.Session(c.path)
	loaded, err := c.loadItems(handover.With(ctx, s), targets, cfg, s != nil)
	if err = endTogether(ctx, "load", c.path, s, err); err != nil {
		return nil, wrap(ctx, "load", c.path, err)
	}
	return loaded, nil
}

// loadItems loads several checkpointables, at the same time or in the order of their names.
func (c *Checkpoint) loadItems(ctx context.Context, targets map[string]any, cfg *loadConfig, inOrder bool) (_ map[string]any, err error) {
	if !c.found.HasItems() {
		return nil, fmt.Errorf("%w: it has no checkpointables with names; use Load", fault.ErrStructure)
	}
	var filled any // one of them
	for _, target := range targets {
		if target != nil {
			filled = target
		}
	}
	if err := cmp.Or(cfg.checkTarget(filled), c.checkLoading(cfg)); err != nil {
		return nil, err
	}
	if len(targets) == 0 {
		targets = map[string]any{}
		for _, name := range slices.Concat(c.found.Names, c.found.Missing) {
			isTree := false
			if name == layout.DescriptorName { // it is left out where everything is loaded
				if isTree, err = c.found.HasTree(ctx, name); err != nil {
					return nil, err
				}
			}
			if name != layout.DescriptorName || isTree {
				targets[name] = nil
			}
		}
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(targets)) {
		errs = append(errs, c.found.Check(name))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	cfg.Handler.Shared = new(tree.Targets)
	var mu sync.Mutex
	loaded := make(map[string]any, len(targets))
	load := func(ctx context.Context, name string) error {
		v, err := c.loadPart(ctx, name, targets[name], cfg)
		if err != nil {
			return fault.InItem(name, err)
		}
		mu.Lock()
		defer mu.Unlock()
		loaded[name] = v
		return nil
	}
	group, gctx := parallel.WithContext(ctx)
	for _, name := range slices.Sorted(maps.Keys(targets)) {
		if !inOrder {
			group.Go(func() error { return load(gctx, name) })
		} else if err := load(ctx, name); err != nil {
			return nil, err
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return loaded, nil
}
