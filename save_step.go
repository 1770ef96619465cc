package orbax

import (
	"context"
	"fmt"
	"sync"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/savehook"
	"github.com/go-orbax/orbax/storage"
)

// prepareStep takes what belongs to a step of a run: its metrics.
func (s *saving) prepareStep(ctx context.Context, c *saveConfig) error {
	if c.step.Force && !c.step.Managed {
		return fmt.Errorf("%w: Force is for a Checkpointer, which decides what is saved; this saves always", fault.ErrUnsupported)
	}
	if c.step.Metrics == nil {
		return nil
	}
	if s.into != nil {
		return fmt.Errorf("%w: a partial save has no metrics", fault.ErrUnsupported)
	}
	h := handler.MetricsHandler{}
	write, err := h.Save(ctx, c.step.Metrics, c.handler)
	if err != nil {
		return err
	}
	s.writes[layout.MetricsName] = write
	s.meta.Handlers[layout.MetricsName] = h.Type()
	return nil
}

// sharing is what a save shares with an earlier step. It is opened when the first
// checkpointable asks for it.
type sharing struct {
	*savehook.Sharing
	open func(ctx context.Context) *Checkpoint
}

func newSharing(s *savehook.Sharing) *sharing {
	if s == nil {
		return nil
	}
	sh := &sharing{Sharing: s}
	var once sync.Once
	var base *Checkpoint
	sh.open = func(ctx context.Context) *Checkpoint {
		once.Do(func() {
			store, dir, err := storage.Resolve(s.Base)
			if err == nil {
				base, err = open(ctx, store, dir)
			}
			if err != nil {
				s.Problem(fmt.Errorf("nothing is shared with %s: %w", s.Base, err))
			}
		})
		return base
	}
	return sh
}

// has reports whether there is a step to share with.
func (s *sharing) has() bool { return s != nil && s.Base != "" }

// of returns what the checkpointable called name may reuse.
func (s *sharing) of(ctx context.Context, name string) *handler.Reuse {
	if s == nil || name == layout.MetricsName {
		return nil
	}
	r := &handler.Reuse{FreshEvery: s.FreshEvery, MaxDead: s.MaxDead, Problem: s.Problem}
	if s.has() {
		if base := s.open(ctx); base != nil && base.has(name) {
			r.Base = base.readDir(name, nil)
		}
	}
	return r
}
