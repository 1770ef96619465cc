package orbax

import (
	"context"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/found"
	"github.com/go-orbax/orbax/internal/layout"
)

// readDir returns the directory of a checkpointable for what cfg asks of it.
func (c *Checkpoint) readDir(name string, cfg *loadConfig) *handler.ReadDir {
	p := c.place(name)
	p.Engine, p.Unproven = cfg.engine, &cfg.unproven
	return (*handler.ReadDir)(ckdir.NewReadDir(p))
}

// itemDir returns the directory of a checkpointable, of which each read has an engine of
// its own.
func (c *Checkpoint) itemDir(name string) *ckdir.ReadDir { return ckdir.NewReadDir(c.place(name)) }

// ownDir is itemDir for handlers.
func (c *Checkpoint) ownDir(name string) *handler.ReadDir { return (*handler.ReadDir)(c.itemDir(name)) }

// place says where the directory of a checkpointable is.
func (c *Checkpoint) place(name string) ckdir.Place {
	p := c.found.Place(c.found.At, name, c.unchanged)
	p.Open = c.isOpen
	return p
}

// outcome returns err, the outcome of what cfg asked for, unless the checkpoint has been
// closed or replaced meanwhile. After a success it looks for a replacement even if digests
// cover all documents: they do not cover the index, which says what the arrays are.
func (c *Checkpoint) outcome(ctx context.Context, cfg *loadConfig, err error) error {
	// The beginning of a deletion, for which unchanged looks too, can only make wrong what
	// is read without a digest, filled in, or read later.
	covered := c.found.Digests != nil && !cfg.unproven.Load() && !cfg.Handler.Fill && cfg.Mapping == config.MapNothing
	if err != nil || !covered {
		return c.unchanged(ctx, err)
	}
	if err := c.isOpen(); err != nil {
		return err
	}
	return c.found.NotReplaced(ctx)
}

// treeHandler returns the handler that opens a checkpointable as a tree: the one of the
// registry that loads it, or, if that is no handler of trees, the standard one, whose error
// says what the directory lacks.
func (c *Checkpoint) treeHandler(name string, r *handler.Registry) handler.TreeHandler {
	typ := c.found.Meta.Handlers[name]
	if typ == layout.StatefulHandler { // recorded for pytrees that Orbax finalized, too
		typ = ""
	}
	if h, err := r.ForLoad(name, typ, nil); err == nil {
		if trees, ok := h.(handler.TreeHandler); ok {
			return trees
		}
	}
	return handler.PyTreeHandler{}
}

// ownTrees returns the handler that r has for the type that is recorded for a
// checkpointable, if it is one of trees and not the standard one: its files need not be
// those of a pytree of Orbax. It returns nil for others.
func (c *Checkpoint) ownTrees(name string, r *handler.Registry) handler.TreeHandler {
	typ := c.found.Meta.Handlers[name]
	if typ == "" || !r.Knows(typ) || found.IsOf[handler.PyTreeHandler](typ) {
		return nil
	}
	h, err := r.ForLoad(name, typ, nil)
	trees, ok := h.(handler.TreeHandler)
	if err != nil || !ok {
		return nil
	}
	return trees
}

// Files returns the directory of the checkpointable called name, so that its files can be
// listed or copied. They are read as they were written, each checked against its digest
// if the checkpoint has one. Reading fails as that of the Checkpoint does once it is closed
// or replaced. The name is "" for a checkpoint that is itself a
// checkpointable, as Orbax v0 wrote them and as other formats are; if that is a single
// file, reading fails as the store reports it. A name that does not exist is an *[Error]
// that matches [ErrNotExist].
func (c *Checkpoint) Files(name string) (*handler.ReadDir, error) {
	err := c.isOpen()
	switch {
	case err != nil:
	case name != "" || c.found.HasItems():
		err = c.found.Check(name)
	}
	if err != nil {
		return nil, wrap(context.Background(), "open", c.path, err)
	}
	p := c.place(name)
	p.Alone = true
	return (*handler.ReadDir)(ckdir.NewReadDir(p)), nil
}
