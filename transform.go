package orbax

import (
	"context"

	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/transform"
	"github.com/go-orbax/orbax/view"
)

// transformOption applies rules to the tree that is loaded.
type transformOption []transform.Rule

// Transform loads the pytree that rules make of the stored one, with leaves renamed,
// cast, cut, split, joined, computed, added or dropped; see package transform. Everything
// is checked before anything is read. Several options that change the tree act in the
// order in which they are given. [Metadata] and [Checkpoint.Tree] take Transform too, and
// read nothing.
func Transform(rules ...transform.Rule) LoadOption { return transformOption(rules) }

func (o transformOption) ApplyLoad(c *config.Load) {
	c.Handler.Views = append(c.Handler.Views, func(ctx context.Context, t *view.Tree) (*view.Tree, error) {
		plan, err := transform.Compile(t, func(name string) (*view.Tree, error) { return c.Other(ctx, name) }, o...)
		switch {
		case ctx.Err() != nil: // which is no mistake of a rule
			return nil, ctx.Err()
		case err != nil:
			return nil, err
		}
		return plan.Tree(), nil
	})
}

// config returns the options for a load from c.
func (c *Checkpoint) config(options []LoadOption) *loadConfig {
	cfg := newLoadConfig(options)
	cfg.Other = func(ctx context.Context, name string) (*view.Tree, error) {
		name, err := c.pick(ctx, name, cfg.Registry)
		if err != nil {
			return nil, err
		}
		plain := &loadConfig{Load: &config.Load{Registry: cfg.Registry, Handler: cfg.Handler}, engine: cfg.engine}
		plain.Handler.Views = nil
		t, err := c.tree(ctx, name, plain)
		if err != nil {
			return nil, fault.InItem(name, err)
		}
		return t, nil
	}
	return cfg
}
