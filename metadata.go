package orbax

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/view"
)

// CheckpointMetadata describes a checkpoint.
type CheckpointMetadata struct {
	Path       string
	InitTime   time.Time // when the save began; zero if unknown
	CommitTime time.Time // when it was completed; zero if unknown
	// Custom is the custom metadata: map[string]any or []any, with integers as int, or
	// uint64 or *big.Int if they do not fit, and other numbers as float64. For
	// safetensors files it is the metadata in the file.
	Custom any
	// Metrics holds the metrics of a training step: any JSON value, with numbers as in
	// Custom; nil if there are none.
	Metrics any
	// Tree describes the chosen pytree. It is nil in the result of
	// [CheckpointablesMetadata].
	Tree *view.TreeMetadata
	// Checkpointables has the metadata that the handler of each checkpointable returns:
	// for a pytree a *[view.TreeMetadata], nil for other kinds. In the result of
	// [Metadata] it has the chosen one.
	Checkpointables map[string]any
	// Handlers has the recorded type of the handler of each checkpointable; see
	// handler.Handler. Other writers may record none.
	Handlers map[string]string
	// Deleting is the checkpointable whose deletion has begun and not finished, or "". It
	// can no longer be loaded; see [Delete].
	Deleting string
	// Digests says that the checkpoint has the digests that this package writes: a
	// checksum covers every bit of it. Other writers may store none.
	Digests bool
}

// Err returns the known errors that would make a load of all described checkpointables
// fail. These are errors of single leaves, for which [Metadata] does not fail. See
// [view.TreeMetadata.Err]; only [Verify] finds all damage.
func (m *CheckpointMetadata) Err() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(m.Checkpointables)) {
		if t, ok := m.Checkpointables[name].(*view.TreeMetadata); ok {
			err := t.Err()
			if err != nil && len(m.Checkpointables) > 1 {
				err = fault.InItem(name, err)
			}
			errs = append(errs, err)
		}
	}
	return wrap(context.Background(), "metadata", m.Path, errors.Join(errs...))
}

// Metadata describes the checkpoint and one pytree; see the function [Metadata].
func (c *Checkpoint) Metadata(ctx context.Context, options ...LoadOption) (*CheckpointMetadata, error) {
	cfg := c.config(options)
	name, err := c.pickFor(ctx, cfg)
	if err != nil {
		return nil, wrap(ctx, "metadata", c.path, err)
	}
	m, err := c.metadata(ctx, cfg, name)
	if err != nil {
		return nil, err
	}
	m.Tree, _ = m.Checkpointables[name].(*view.TreeMetadata)
	return m, nil
}

// CheckpointablesMetadata describes all checkpointables; see the function
// [CheckpointablesMetadata].
func (c *Checkpoint) CheckpointablesMetadata(ctx context.Context, options ...LoadCheckpointablesOption) (*CheckpointMetadata, error) {
	cfg := newLoadConfig(options)
	if err := cmp.Or(c.found.CheckWhole(), cfg.checkTarget(nil), c.checkReading(cfg)); err != nil {
		return nil, wrap(ctx, "metadata", c.path, err)
	}
	return c.metadata(ctx, cfg, c.found.Items()...)
}

// Info is [Checkpoint.CheckpointablesMetadata] without Checkpointables. It returns the
// metadata of the checkpoint itself, and reads at most one small file.
func (c *Checkpoint) Info(ctx context.Context) (*CheckpointMetadata, error) {
	return c.metadata(ctx, newLoadConfig[LoadOption](nil))
}

func (c *Checkpoint) metadata(ctx context.Context, cfg *loadConfig, names ...string) (*CheckpointMetadata, error) {
	m := &CheckpointMetadata{
		Path:            c.path,
		InitTime:        c.found.Meta.InitTime,
		CommitTime:      c.found.Meta.CommitTime,
		Custom:          c.found.Meta.Custom,
		Checkpointables: map[string]any{},
		Handlers:        maps.Clone(c.found.Meta.Handlers),
		Deleting:        c.found.Deleting,
		Digests:         c.found.Digests != nil,
	}
	var err error
	if m.Metrics, err = c.metrics(ctx, cfg); err != nil {
		names = nil
	}
	for _, name := range names {
		if err = c.describe(ctx, cfg, name, m); err != nil {
			if name != "" {
				err = fault.InItem(name, err)
			}
			break
		}
	}
	if err := c.outcome(ctx, cfg, err); err != nil {
		return nil, wrap(ctx, "metadata", c.path, err)
	}
	if t, ok := m.Checkpointables[""].(*view.TreeMetadata); ok && len(t.Custom) > 0 {
		custom := make(map[string]any, len(t.Custom))
		for k, v := range t.Custom {
			custom[k] = v
		}
		m.Custom = custom
	}
	return m, nil
}

// describe adds to m what the handler of a checkpointable tells of it.
func (c *Checkpoint) describe(ctx context.Context, cfg *loadConfig, name string, m *CheckpointMetadata) error {
	typ, err := c.found.HandlerType(ctx, name)
	if err != nil {
		return err
	}
	h, err := cfg.Registry.ForLoad(name, typ, nil)
	if err != nil {
		return err
	}
	if !cfg.Registry.Knows(typ) {
		if isTree, err := c.found.HasTree(ctx, name); err != nil || !isTree {
			return err // nil: of an unknown kind, and not a pytree either
		}
	}
	if err := c.found.LostTree(ctx, name); err != nil {
		return err
	}
	trees, ok := h.(handler.TreeHandler)
	if !ok {
		if err := cfg.checkViews(h); err != nil {
			return err
		}
		m.Checkpointables[name], err = h.Metadata(ctx, c.readDir(name, cfg))
		return err
	}
	t, err := cfg.Handler.OpenView(ctx, trees, c.readDir(name, cfg))
	if err == nil {
		m.Checkpointables[name] = t.Metadata()
	}
	return err
}

// metrics returns the metrics of a step, or nil.
func (c *Checkpoint) metrics(ctx context.Context, cfg *loadConfig) (any, error) {
	if !c.found.HasMetrics {
		return nil, nil
	}
	m, err := handler.MetricsHandler{}.Metadata(ctx, c.readDir(layout.MetricsName, cfg))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return m, err
}
