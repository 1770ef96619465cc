package orbax

import (
	"context"
	"fmt"
	"sync"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/found"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/save"
	"github.com/go-orbax/orbax/storage"
)

// prepareStep takes what belongs to a step of a run: its metrics.
func (s *saving) prepareStep(ctx context.Context, c *save.Config) error {
	if c.Step.Force && !c.Step.Managed {
		return fmt.Errorf("%w: Force is for a Checkpointer, which decides what is saved; this saves always", fault.ErrUsage)
	}
	if c.Metrics == nil {
		return nil
	}
	if s.into != nil {
		return fmt.Errorf("%w: a partial save has no metrics", fault.ErrUsage)
	}
	h := handler.MetricsHandler{}
	write, err := h.Save(ctx, c.Metrics, c.Handler)
	if err != nil {
		return err
	}
	s.writes[layout.MetricsName] = write
	s.meta.Handlers[layout.MetricsName] = h.Type()
	return nil
}

// openEarlier returns a function that opens an earlier step when it is first called,
// and returns nil if it cannot.
func openEarlier(ctx context.Context, path string, problem func(error)) func() *found.Found {
	return sync.OnceValue(func() *found.Found {
		store, dir, err := storage.Resolve(path)
		if err != nil {
			problem(err)
			return nil
		}
		c, err := found.Look(ctx, store, dir)
		if err != nil {
			problem(err)
			return nil
		}
		return c
	})
}

// typeOf returns the type that is recorded for h, the handler of a checkpointable: the
// one that the step before has for it, if that is another name of the same format and
// leads back to h in the save's own registry. Orbax's old CheckpointManager restores an
// item only by a type that it knows, and it knows those that it has written. The step
// before is opened here, which SaveAsync does not wait for.
func (s *saving) typeOf(name string, h handler.Handler) string {
	before := s.like()
	if before == nil || !before.Has(name) {
		return h.Type()
	}
	typ := before.Meta.Handlers[name]
	if layout.IsRandomKeyType(typ) {
		return h.Type()
	}
	// The standard handler, which is nil's, makes the format Orbax's, and has no field
	// set. It is comparable, so that h is then too.
	for _, r := range []*handler.Registry{nil, s.registry} {
		reader, err := r.ForLoad(name, typ, nil)
		if err != nil || !r.Knows(typ) || reader != h {
			return h.Type()
		}
	}
	return typ
}

// sharing is what a save shares with an earlier step. It is opened when the first
// checkpointable asks for it.
type sharing struct {
	reuse *ckdir.Reuse
	base  string
	open  func() *found.Found
}

func newSharing(ctx context.Context, s save.Step) *sharing {
	if s.Reuse == nil {
		return nil
	}
	return &sharing{s.Reuse, s.Base, openEarlier(ctx, s.Base, func(err error) {
		s.Reuse.Problem(fmt.Errorf("nothing is shared with %s: %w", s.Base, err))
	})}
}

// has reports whether there is a step to share with.
func (s *sharing) has() bool { return s != nil && s.base != "" }

// of returns what the checkpointable called name may reuse.
func (s *sharing) of(name string) *ckdir.Reuse {
	if s == nil || name == layout.MetricsName {
		return nil
	}
	r := *s.reuse
	if s.has() {
		if base := s.open(); base != nil && base.Has(name) {
			r.Base = base.ReadDir(name, base.Unchanged)
		}
	}
	return &r
}
