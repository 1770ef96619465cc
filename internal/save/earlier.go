package save

import (
	"context"
	"fmt"
	"sync"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/found"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/storage"
)

// earlier is an earlier checkpoint that the save reads. A nil *earlier has no items.
type earlier struct{ *found.Found }

// openEarlier returns a function that opens an earlier step when it is first called. The
// function returns nil if it cannot open the step.
func openEarlier(ctx context.Context, store storage.Store, path string, problem func(error)) func() *earlier {
	return sync.OnceValue(func() *earlier {
		var f *found.Found
		err := parallel.Run(func() error { // a sync.Once panics if its function ends the goroutine
			at, err := config.Locate(ctx, store, path)
			if err == nil {
				f, err = found.Look(ctx, at)
			}
			return err
		})
		if err != nil {
			problem(err)
			return nil
		}
		return &earlier{f}
	})
}

// dir returns the directory of an item. It returns nil if there is none.
func (e *earlier) dir(name string) *ckdir.ReadDir {
	if e == nil || !e.Has(name) {
		return nil
	}
	return e.ReadDir(name, e.Unchanged)
}

// typeOf returns the type that the checkpoint records for the handler of an item. It is
// the type that the step before has for the item, if that is another name of the same
// format and leads back to the handler in the save's own registry. Orbax's old
// CheckpointManager restores an item only by a type that it knows, and it knows the types
// that it has written. typeOf opens the step before; SaveAsync does not wait for that.
func (p *Plan) typeOf(item *Item) string {
	own := item.Handler.Type()
	if item.Name == layout.MetricsName {
		return own
	}
	before := p.like()
	if before == nil || !before.Has(item.Name) {
		return own
	}
	typ := before.Meta.Handlers[item.Name]
	if layout.IsRandomKeyType(typ) {
		return own
	}
	// The nil registry has the standard handlers. If it returns the item's handler, the
	// format is Orbax's and the handler has no field set. A standard handler is
	// comparable, so the item's handler is comparable too if the two are equal.
	for _, r := range []*handler.Registry{nil, p.Config.Registry} {
		reader, err := r.ForLoad(item.Name, typ, nil)
		if err != nil || !r.Knows(typ) || reader != item.Handler {
			return own
		}
	}
	return typ
}

// reuseOf returns a function that gives each item the data that it shares with the step
// Base and the record that it keeps for later steps. It returns nil if no item shares
// anything. Base is opened when an item first asks for it.
func reuseOf(ctx context.Context, c *Config) func(name string) *ckdir.Reuse {
	s := c.Step
	if s.Reuse == nil {
		return nil
	}
	base := func() *earlier { return nil }
	if s.Base != "" {
		base = openEarlier(ctx, c.Store, s.Base, func(err error) {
			s.Reuse.Report(fmt.Errorf("nothing is shared with %s: %w", s.Base, err))
		})
	}
	return func(name string) *ckdir.Reuse {
		if name == layout.MetricsName {
			return nil
		}
		r := *s.Reuse
		r.Base = base().dir(name)
		return &r
	}
}

// shares reports whether there is a step with which the save can share bytes.
func (s *Step) shares() bool { return s.Reuse != nil && s.Base != "" }
