package orbax

import (
	"context"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/found"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/transfer"
)

// readDir returns the directory of a checkpointable, which e reads; nil will do.
func (c *Checkpoint) readDir(name string, e *transfer.Engine) *handler.ReadDir {
	return (*handler.ReadDir)(c.itemDir(name, e))
}

// itemDir is readDir for what is no handler.
func (c *Checkpoint) itemDir(name string, e *transfer.Engine) *ckdir.ReadDir {
	p := c.found.Place(c.found.Dir, name, c.unchanged)
	p.Engine, p.Open = e, c.isOpen
	return ckdir.NewReadDir(p)
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

// Files returns the directory of the checkpointable called name, to look at its files or
// to copy them as they are: they are read as they were written, each checked against its
// digest if the checkpoint has one. The name is "" for a checkpoint that is a
// checkpointable itself, as Orbax v0 wrote them and as other formats are; if that is a
// single file, reading fails as the store has it. A name that is not there is an *[Error]
// that matches ErrNotExist.
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
	return c.readDir(name, nil), nil
}
