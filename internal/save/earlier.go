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
	"github.com/go-orbax/orbax/storage"
)

// earlier is a checkpoint that the save looks at. A nil one has nothing.
type earlier struct{ *found.Found }

// openEarlier returns a function that opens an earlier step when it is first called,
// and returns nil if it cannot.
func openEarlier(ctx context.Context, store storage.Store, path string, problem func(error)) func() *earlier {
	return sync.OnceValue(func() *earlier {
		at, err := config.Locate(ctx, store, path)
		if err != nil {
			problem(err)
			return nil
		}
		f, err := found.Look(ctx, at.Store, at.Name)
		if err != nil {
			problem(err)
			return nil
		}
		return &earlier{f}
	})
}

// dir returns the directory of an item, nil if there is none.
func (e *earlier) dir(name string) *ckdir.ReadDir {
	if e == nil || !e.Has(name) {
		return nil
	}
	return e.ReadDir(name, e.Unchanged)
}

// typeOf returns the type that is recorded for the handler of an item: the one that the
// step before has for it, if that is another name of the same format and leads back to
// the handler in the save's own registry. Orbax's old CheckpointManager restores an item
// only by a type that it knows, and it knows those that it has written. The step before
// is opened here, which SaveAsync does not wait for.
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
	// The standard handler, which is nil's, makes the format Orbax's, and has no field
	// set. It is comparable, so that the item's is then too.
	for _, r := range []*handler.Registry{nil, p.Config.Registry} {
		reader, err := r.ForLoad(item.Name, typ, nil)
		if err != nil || !r.Knows(typ) || reader != item.Handler {
			return own
		}
	}
	return typ
}

// reuseOf returns the function that returns what each item shares with the step Base and
// records for later ones; nil if no item does. Base is opened when an item first asks.
func reuseOf(ctx context.Context, c *Config) func(name string) *ckdir.Reuse {
	s := c.Step
	if s.Reuse == nil {
		return nil
	}
	base := func() *earlier { return nil }
	if s.Base != "" {
		base = openEarlier(ctx, c.Store, s.Base, func(err error) {
			s.Reuse.Problem(fmt.Errorf("nothing is shared with %s: %w", s.Base, err))
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

// shares reports whether there is a step to share bytes with.
func (s *Step) shares() bool { return s.Reuse != nil && s.Base != "" }
