package found

import (
	"context"
	"fmt"
	"maps"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// lookItem opens the directory of an item: the checkpoint around it, reduced to that
// item. Programs pass such paths on, because Orbax v0 loads them.
func lookItem(ctx context.Context, at storage.Location) (*Found, error) {
	outer, name := at.Dir(), at.Base()
	f, err := lookOnce(ctx, outer)
	if f == nil || err != nil {
		return f, err
	}
	if f.Deleting == name {
		return f, f.Check(name)
	}
	if !f.Has(name) {
		return f, fmt.Errorf("%w: it is inside of the checkpoint %s, and no checkpointable of it", fault.ErrInvalidCheckpoint, outer.Name)
	}
	maps.DeleteFunc(f.Meta.Handlers, func(other, _ string) bool { return other != name })
	f.Item, f.Names, f.Missing, f.LostMetrics = name, []string{name}, nil, false
	return f, nil
}

// ErrItem returns an error if the path was that of an item, for operations that need a
// whole checkpoint.
func (f *Found) ErrItem() error {
	if f.Item == "" {
		return nil
	}
	return fmt.Errorf("%w: it is the checkpointable %q of the checkpoint %s; give that path", fault.ErrInvalidCheckpoint, f.Item, f.At.Name)
}
