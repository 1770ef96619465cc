// Package save has the pipeline by which every checkpoint is saved, whatever is saved and
// wherever it goes.
//
//	plan      the items and their handlers, and the options
//	Check     the target refuses the place
//	Accept    each handler plans its item, and the target refuses items that do not fit
//	snapshot  an asynchronous save copies the item
//	Claim     the target takes the place
//	Open      the target gives the directory to write to
//	write     each handler writes its item
//	Publish   the target writes the documents and commits
//
// A [Target] is the whole checkpoint, or the part of a session (package partial).
// [Config] holds the options of a save.
package save

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

// Saving is a save that has been accepted. [Saving.Run] writes it.
type Saving struct {
	plan   *Plan
	target Target
}

// Begin checks everything that can be checked, copies the values if necessary, and claims
// the path. It writes nothing before everything is accepted. e moves the data; its meter
// reports the progress.
func Begin(ctx context.Context, e *transfer.Engine, path string, values map[string]any, c *Config) (*Saving, error) {
	at, err := config.Locate(ctx, c.Store, path)
	if err != nil && c.Group == nil { // otherwise the other processes have to know
		return nil, err
	}
	p := newPlan(ctx, e, Place{Location: at}, c)
	s := &Saving{plan: p, target: c.target(ctx, p.Place)}
	if err == nil {
		err = s.check(ctx, values)
	}
	if err == nil {
		err = s.accept(ctx, values)
	}
	if err == nil {
		err = s.target.Claim(ctx, p)
	}
	if err == nil {
		return s, nil
	}
	return nil, s.target.Abort(err)
}

func newPlan(ctx context.Context, e *transfer.Engine, place Place, c *Config) *Plan {
	p := &Plan{
		Config: c,
		Place:  place,
		Engine: e,
		Meta:   layout.CheckpointMetadata{Handlers: map[string]string{}, InitTime: time.Now()},
		reuse:  reuseOf(ctx, c),
		like:   func() *earlier { return nil },
	}
	if c.Step.Like != "" {
		p.like = openEarlier(ctx, c.Store, c.Step.Like, func(error) {}) // without it, documents have their own names
	}
	return p
}

// check checks the options, the names and the place. It does not look at any value.
func (s *Saving) check(ctx context.Context, values map[string]any) error {
	if err := ctx.Err(); err != nil {
		return err // once, and not for each look at the place
	}
	p, c := s.plan, s.plan.Config
	custom, err := layout.CheckCustom(c.Custom)
	p.Meta.Custom = custom
	errs := []error{err, c.Refused, p.checkMode(c)}
	if len(values) == 0 {
		errs = append(errs, fmt.Errorf("%w: nothing to save", fault.ErrStructure))
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		errs = append(errs, layout.CheckNewName(name))
	}
	return errors.Join(append(errs, s.target.Check(ctx, p))...)
}

// accept lets the handlers check the values and copy what they need.
func (s *Saving) accept(ctx context.Context, values map[string]any) error {
	p, c := s.plan, s.plan.Config
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		errs = append(errs, s.acceptItem(ctx, name, values[name]))
	}
	if c.Step.Force && !c.Step.Managed {
		errs = append(errs, fmt.Errorf("%w: Force is for a training.Checkpointer, which may skip a step; this function always saves", fault.ErrUsage))
	} else if c.Metrics != nil {
		h := handler.MetricsHandler{}
		write, err := h.Save(ctx, c.Metrics, c.Handler)
		errs = append(errs, err)
		p.Items = append(p.Items, &Item{Name: layout.MetricsName, Handler: h, write: write})
	}
	return errors.Join(errs...)
}

func (s *Saving) acceptItem(ctx context.Context, name string, value any) error {
	p, c := s.plan, s.plan.Config
	if value == nil {
		return fmt.Errorf("%w: checkpointable %q is nil", fault.ErrLeafType, name)
	}
	h, err := c.Registry.ForSave(name, value)
	if err != nil {
		return err
	}
	item := &Item{Name: name, Handler: h, Value: value}
	if err := s.prepare(ctx, item); err != nil {
		if name != c.Name {
			err = fault.InItem(name, err) // Save was given several items
		}
		return err
	}
	if item.write == nil {
		return fault.InItem(name, fmt.Errorf("%w: handler %s returned no function to write it", fault.ErrUnsupported, h.Type()))
	}
	p.Items = append(p.Items, item)
	return nil
}

// prepare lets the handler of an item plan it and copy the data that may change. In
// between, the target may refuse the item. A handler of pytrees announces its plan.
func (s *Saving) prepare(ctx context.Context, item *Item) (err error) {
	p := s.plan
	defer func() { item.Value, item.Leaves = nil, nil }()
	accepted := false
	accept := func() error {
		accepted = true
		return s.target.Accept(ctx, p, item)
	}
	opts := p.Config.Handler
	opts.Operation = p.operation(func(plan ckdir.Announced) error {
		item.Leaves, item.plan = plan.Leaves, plan
		item.plan.Leaves = nil
		p.Bytes += plan.Bytes
		return accept()
	})
	if _, announces := item.Handler.(handler.TreeHandler); !announces {
		if err := accept(); err != nil {
			return err
		}
	}
	if item.write, err = item.Handler.Save(ctx, item.Value, opts); err == nil && !accepted {
		err = accept()
	}
	return err
}

// operation returns the part of the save that the handler of an item sees.
func (p *Plan) operation(announce func(ckdir.Announced) error) *handler.Operation {
	return (*handler.Operation)(ckdir.NewOperation(ckdir.Settings{
		Engine:    p.Engine,
		Announce:  announce,
		Process:   p.Config.Process(),
		Unmerged:  p.Config.Unmerged,
		Uncovered: p.Config.Uncovered,
		Reuse:     p.reuse,
		Like:      func(name string) *ckdir.ReadDir { return p.like().dir(name) },
	}))
}

// Run writes the accepted items and publishes the checkpoint.
func (s *Saving) Run(ctx context.Context) error {
	p := s.plan
	for _, item := range p.Items {
		p.Meta.Handlers[item.Name] = p.typeOf(item)
	}
	writing, stage, err := s.target.Open(ctx, p)
	if err == nil {
		if p.reuse == nil { // otherwise computing fingerprints comes first
			p.Engine.Meter.Begin(transfer.Moving, 0)
		}
		err = p.write(writing, stage)
	}
	if err != nil {
		p.Engine.Meter.Begin(transfer.Committing, 0)
		return s.target.Abort(err)
	}
	p.Meta.CommitTime = time.Now()
	return s.target.Publish(ctx, p)
}

// write writes each item to its directory in the stage.
func (p *Plan) write(ctx context.Context, stage storage.Files) error {
	group, gctx := parallel.WithContext(ctx)
	for _, item := range p.Items {
		if !item.writes(p.Config.Process().Rank) {
			continue
		}
		group.Go(func() error {
			dir, err := ckdir.NewWriteDir(gctx, p.Engine, stage, item.Name, p.Digests.Add)
			if err != nil {
				return err
			}
			if p.Config.Group == nil && p.Store.Properties().NeedsMarker() { // else copies would be sent between processes
				dir.KeepWith(p.Digests.Keep)
			}
			if _, isTree := item.Handler.(handler.TreeHandler); !isTree {
				dir = dir.NoTree()
			}
			return p.explain(item, item.write(gctx, (*handler.WriteDir)(dir)))
		})
	}
	return group.Wait()
}

// explain says what to do if several processes write the same file of an item.
func (p *Plan) explain(item *Item, err error) error {
	if p.Config.Process().Size > 1 && errors.Is(err, fs.ErrExist) {
		return fault.InItem(item.Name, fmt.Errorf("%w: several processes write a file of the same name: %w; give each its own, as handler.DatasetIteratorOf does", fault.ErrKeyCollision, err))
	}
	return err
}

// WriteFile writes a file of the stage and adds its digest to p.Digests.
func (p *Plan) WriteFile(ctx context.Context, stage storage.Files, name string, data []byte) error {
	p.Digests.Add(name, sha256.Sum256(data))
	return p.Engine.WriteFile(ctx, stage, name, data)
}
