package partial

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/documents"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/proof"
	"github.com/go-orbax/orbax/internal/save"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/internal/union"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/tree"
)

// newPart is the target of a save of a part: a directory in the session of the place.
type newPart struct {
	save.Place
	session *session
	turn    *turn
	id      string
	leaves  []tree.Leaf
	arrays  bool // some leaves are stored as arrays
	zarr2   bool // in zarr format 2
	stage   storage.Stage
}

// Check refuses options that a part cannot have, and a place that is taken.
func (p *newPart) Check(ctx context.Context, plan *save.Plan) error {
	c := plan.Config
	if c.Overwrite {
		return fmt.Errorf("%w: a partial save overwrites nothing", fault.ErrUsage)
	}
	mode := p.session.canEnd()
	if c.Marker {
		mode = fmt.Errorf("%w: a partial save cannot be committed by CommitFile; leave Atomicity out", fault.ErrUsage)
	}
	if err := errors.Join(mode, p.CheckOutside(ctx), p.checkFree(ctx)); err != nil {
		return err
	}
	if custom, _ := plan.Meta.Custom.(layout.CustomJSON); custom.IsList() {
		return fmt.Errorf("%w: the custom metadata of a part must be a JSON object, to be merged with that of others", fault.ErrUsage)
	}
	if c.Metrics != nil {
		return fmt.Errorf("%w: a partial save has no metrics", fault.ErrUsage)
	}
	return nil
}

// checkFree refuses a place that is not empty, because the checkpoint must not exist yet.
func (p *newPart) checkFree(ctx context.Context) error {
	info, ok, err := p.Stat(ctx)
	if err != nil || !ok {
		return err
	}
	switch _, err := p.Look(ctx, info); {
	case err == nil:
		return fmt.Errorf("%w; parts are for a checkpoint that does not exist yet", fault.ErrExist)
	case errors.Is(err, fault.ErrNotExist):
		return nil // it has been removed meanwhile
	case errors.Is(err, fault.ErrUnfinished):
		if died, derr := p.session.interrupted(ctx); died || derr != nil {
			return derr
		}
		return p.Taken(ctx, err)
	default:
		return p.Taken(ctx, err)
	}
}

// Accept checks that the part can be in one checkpoint with the parts of the session.
func (p *newPart) Accept(ctx context.Context, plan *save.Plan, item *save.Item) error {
	if _, isTree := item.Handler.(handler.TreeHandler); isTree && item.Leaves == nil {
		return fmt.Errorf("%w: a partial save needs a pytree; the handler %s does not write one, or does not pass the Operation of its SaveOptions on", fault.ErrLeafType, item.Handler.Type())
	}
	if item.Leaves == nil {
		return fmt.Errorf("%w: a partial save needs a pytree, not %T", fault.ErrLeafType, item.Value)
	}
	p.leaves, p.zarr2 = slices.Clone(item.Leaves), plan.Config.Handler.Storage.Zarr2
	p.arrays = slices.ContainsFunc(p.leaves, hasArray)
	for i := range p.leaves {
		if _, text := p.leaves[i].Value.(string); !text {
			p.leaves[i].Value = nil // the save may outlive the caller's state
		}
	}
	_, err := p.check(ctx)
	err = p.session.orAbsent(ctx, err)
	if err != nil && !errors.Is(err, fault.ErrNotExist) { // else another process finalizes the session, and Open checks again
		return err
	}
	return plan.CheckRoom(ctx)
}

// check refuses leaves that do not fit the session, and returns the time of the last
// part.
func (p *newPart) check(ctx context.Context) (last int64, err error) {
	exists, err := p.session.exists(ctx)
	if err != nil {
		return 0, err
	}
	if !exists {
		return 0, errors.Join(collisions(new(union.KeySet), p.leaves)...)
	}
	c, err := p.session.read(ctx)
	if err != nil {
		return 0, err
	}
	var keys union.KeySet
	var stored formats
	for _, old := range c.parts {
		t, err := old.tree(ctx)
		if err != nil {
			return 0, err
		}
		stored.add(old.title(), t)
		for _, l := range t.Leaves {
			keys.Add(l.Path, l.ValueType == layout.String) // Finalize reports errors among the stored leaves
		}
		last = max(last, old.saved)
	}
	errs := collisions(&keys, p.leaves)
	if len(errs) > 0 {
		err := fmt.Errorf("the session %s has leaves already with which these collide; a part adds leaves, and replaces none", p.session.dir.Name)
		errs = append(errs, err)
	}
	if p.arrays {
		errs = append(errs, stored.accept(p.zarr2))
	}
	return last, errors.Join(errs...)
}

// collisions returns the errors of leaves that do not fit beside keys, or beside each
// other: None and empty containers of one name in the store can be saved, but finalizing
// refuses them.
func collisions(keys *union.KeySet, leaves []tree.Leaf) (errs []error) {
	for _, l := range leaves {
		_, text := l.Value.(string)
		if err := keys.Add(l.Path, text); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// Claim does nothing, because the session is claimed when the part's turn begins.
func (p *newPart) Claim(context.Context, *save.Plan) error { return nil }

// Open waits for the turn and begins the stage.
func (p *newPart) Open(ctx context.Context, _ *save.Plan) (context.Context, storage.Files, error) {
	if err := p.turn.wait(ctx); err != nil {
		return nil, nil, err
	}
	var refused error // waiting does not change this error
	o := storage.BeginOptions{Marker: p.session.marker(), Into: func(ctx context.Context) (name string, err error) {
		name, err = p.entry(ctx)
		refused = err
		return name, err
	}}
	err := patiently(ctx, func() (err error) {
		p.stage, err = p.session.dir.Store.Begin(ctx, p.session.dir.Name, o)
		if refused != nil {
			refused = err
			return nil
		}
		return err
	})
	if err = cmp.Or(err, refused); err != nil {
		p.stage = nil
		return nil, nil, err
	}
	return ctx, p.stage, nil
}

// entry checks the session again, now that it is claimed, and returns the name of the
// part's entry in it.
func (p *newPart) entry(ctx context.Context) (string, error) {
	// Remove the leftovers of dead saves of parts. Leftovers that cannot be removed do no
	// harm.
	_ = proof.RemoveLeft(ctx, p.session.dir)
	last, err := p.check(ctx)
	// Parts are merged in the order of their names.
	return fmt.Sprintf("%s%s%d_%s", p.session.dir.Base(), layout.PendingMark, max(time.Now().UnixNano(), last+1), p.id), err
}

// Publish writes the documents of the part, checks again that the place is free, and adds
// the part to the session.
func (p *newPart) Publish(ctx context.Context, plan *save.Plan) error {
	err := documents.Write(ctx, plan.Engine, p.stage, &plan.Meta, &plan.Digests, digestFile(p.id), p.Name)
	plan.Engine.Meter.Begin(transfer.Committing, 0)
	if err == nil {
		err = p.checkFree(ctx)
	}
	if err != nil {
		return errors.Join(err, p.stage.Abort())
	}
	return p.stage.Commit(ctx)
}

// Stage returns the stage, if it has been begun.
func (p *newPart) Stage() storage.Stage { return p.stage }

// Abort gives up the stage, if it has been begun.
func (p *newPart) Abort(why error) error {
	if p.stage == nil {
		return why
	}
	return errors.Join(why, p.stage.Abort())
}
