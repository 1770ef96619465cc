package orbax

import (
	"context"
	"fmt"
	"maps"
	"path"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// openItem opens the directory of a checkpointable: the checkpoint around it, as far
// as it consists of that. Programs hand such paths around, as Orbax v0 loads them.
func openItem(ctx context.Context, store storage.Store, dir string) (*Checkpoint, error) {
	outer, name := path.Dir(dir), path.Base(dir)
	c, err := openOnce(ctx, store, outer)
	if c == nil || err != nil {
		return c, err
	}
	if c.deleting == name {
		return c, c.check(name)
	}
	if !c.has(name) {
		return c, fmt.Errorf("%w: it is inside of the checkpoint %s, and no checkpointable of it", fault.ErrInvalidCheckpoint, outer)
	}
	maps.DeleteFunc(c.meta.Handlers, func(other, _ string) bool { return other != name })
	c.item, c.names, c.missing, c.lostMetrics = name, []string{name}, nil, false
	return c, nil
}

// errItem is what is refused that concerns a checkpoint and not one checkpointable.
func (c *Checkpoint) errItem() error {
	if c.item == "" {
		return nil
	}
	return fmt.Errorf("%w: it is the checkpointable %q of the checkpoint %s; give that path", fault.ErrInvalidCheckpoint, c.item, c.dir)
}
