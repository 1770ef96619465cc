package orbax

import (
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/ckdir"
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
