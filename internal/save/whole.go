package save

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/go-orbax/orbax/internal/documents"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/internal/proof"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

// whole is the target of a save of a whole checkpoint by one process.
type whole struct {
	Place
	overwrite  bool
	unfinished bool // only an unfinished checkpoint may be overwritten
	marked     bool // each item has the mark of a commit by marker
	staged     bool // the stage has no marker, although the checkpoint may have
	inPlace    bool // the stage has one, and what it replaces goes when the save begins
	kept       bool // something was at the path when a stage with a marker began
	stage      storage.Stage
}

func newWhole(at Place, c *Config) *whole {
	needs := at.needsMarker()
	// Orbax's CheckpointManager looks for the marks of the items.
	marked := c.Marker || needs && c.Step.Managed
	// What may not go before the new one is complete is replaced by a rename, or by a store
	// that has its own way.
	inPlace := c.Marker && !needs && !c.Step.ReplaceDamaged
	at.remains = c.Step.ReplaceDamaged || c.Step.ReplaceUnfinished
	return &whole{
		Place:      at,
		overwrite:  c.Overwrite || c.Step.ReplaceUnfinished,
		unfinished: !c.Overwrite && c.Step.ReplaceUnfinished || inPlace,
		marked:     marked,
		staged:     !needs && !inPlace,
		inPlace:    inPlace,
	}
}

// Check refuses a place at which a checkpoint cannot be saved.
func (w *whole) Check(ctx context.Context, p *Plan) error {
	var mode error
	if w.inPlace && !w.Store.Properties().Marker {
		mode = fmt.Errorf("%w: the store of this path cannot write a checkpoint in its place; leave Atomicity out", fault.ErrUnsupported)
	}
	free := w.checkFree
	switch {
	case w.beginLooks():
		free = func(context.Context) error { return w.checkName() }
	case w.needsMarker():
		free = w.checkHealed
	}
	outside := w.CheckOutside
	if p.Config.Step.Managed && w.needsMarker() { // the run has looked around its root, and each look is a request
		outside = func(context.Context) error { return nil }
	}
	return errors.Join(mode, outside(ctx), free(ctx))
}

// beginLooks reports whether the save leaves it to Begin to find something at the path: in
// a store where each look is a request. Begin looks in any case.
func (w *whole) beginLooks() bool { return w.needsMarker() && !w.overwrite }

// errNotInPlace matches ErrExist, for callers that did not ask to overwrite anything.
var errNotInPlace = fmt.Errorf("%w: %w: a save by CommitFile cannot keep the checkpoint that it replaces; Delete it first, or save by AtomicRename",
	fault.ErrUnsupported, fault.ErrExist)

// checkFree refuses a path that is taken. A save that overwrites may take the path of a
// checkpoint, but of nothing else.
func (w *whole) checkFree(ctx context.Context) error {
	info, ok, err := w.Stat(ctx)
	if err != nil {
		return err
	}
	if !ok {
		w.overwrite = w.overwrite && !w.unfinished // nothing is there to replace
		return nil
	}
	if info.Dir {
		entries, err := storage.Entries(ctx, w.Store, w.Name)
		switch {
		case err != nil || len(entries) > 0:
		case w.overwrite:
			return nil // an empty directory may have been made for the checkpoint
		default:
			return fault.Advise(fmt.Errorf("%w: an empty directory", fault.ErrExist), fault.Overwrite, overwriteAdvice)
		}
	}
	old, err := w.Look(ctx, info)
	switch {
	case errors.Is(err, fault.ErrNotExist):
		return nil // removed since
	case w.overwrite && (!w.unfinished || errors.Is(err, fault.ErrUnfinished) || w.isRemains(err)):
	case w.inPlace && (err == nil || errors.Is(err, fault.ErrCorrupt)):
		return errNotInPlace
	default:
		return w.Taken(ctx, err)
	}
	if err == nil && old.Deleting != "" {
		return old.Pending()
	}
	// A damaged or unfinished checkpoint may be replaced.
	if err == nil || errors.Is(err, fault.ErrCorrupt) || errors.Is(err, fault.ErrUnfinished) || w.isRemains(err) {
		_, err = w.proof(ctx, w.Name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed since
	}
	if err != nil {
		return fmt.Errorf("will not overwrite: %w", err)
	}
	return nil
}

// isRemains reports whether an error of Look leaves it to the proof whether what is there
// may be replaced.
func (w *whole) isRemains(err error) bool {
	return w.remains && (errors.Is(err, fault.ErrInvalidCheckpoint) || errors.Is(err, fault.ErrIncomplete))
}

// checkHealed is checkFree in a store in which a directory is removed file by file. What is
// no checkpoint may be what a process has left that has died in a removal. Its claim says
// so, and whoever takes that ends the removal.
func (w *whole) checkHealed(ctx context.Context) error {
	err := w.checkFree(ctx)
	if !errors.Is(err, fault.ErrInvalidCheckpoint) {
		return err
	}
	if busy := w.busy(ctx); busy != nil {
		return busy
	}
	return w.checkFree(ctx)
}

// Accept refuses items that do not fit on the disk.
func (w *whole) Accept(ctx context.Context, p *Plan, item *Item) error {
	err := p.CheckRoom(ctx)
	if errors.Is(err, fault.ErrNoSpace) && w.overwrite && !w.inPlace {
		err = fmt.Errorf("%w (the old checkpoint stays until the new one is complete)", err)
	}
	return err
}

// Claim begins the stage.
func (w *whole) Claim(ctx context.Context, p *Plan) error {
	if w.staged {
		return w.begin(ctx, storage.BeginOptions{Replace: w.replaces(w.proof)})
	}
	return w.beginMarked(ctx, p)
}

func (w *whole) begin(ctx context.Context, o storage.BeginOptions) error {
	stage, err := w.Store.Begin(ctx, w.Name, o)
	if err == nil {
		w.stage = stage
	}
	if errors.Is(err, fault.ErrExist) && w.beginLooks() {
		err = cmp.Or(w.checkFree(ctx), err) // what is there
	}
	return err
}

// replaces returns look if the save replaces a checkpoint at its path, else nil.
func (w *whole) replaces(look storage.Look) storage.Look {
	if w.overwrite {
		return look
	}
	return nil
}

// beginMarked makes the directory of a save by marker, and the file in it that shows
// that the checkpoint is unfinished.
func (w *whole) beginMarked(ctx context.Context, p *Plan) error {
	look := w.proof
	if w.inPlace {
		look = w.lookUnfinished
	}
	o := storage.BeginOptions{Marker: layout.CommitFile, Replace: w.replaces(func(ctx context.Context, dir string) ([]storage.Item, error) {
		w.kept = true
		return look(ctx, dir)
	})}
	if err := w.begin(ctx, o); err != nil {
		return err
	}
	return p.WriteFile(ctx, w.stage, layout.IndicatorFile, nil)
}

// keepsOld reports whether an old checkpoint may be at the path until the commit.
func (w *whole) keepsOld() bool { return w.staged || w.kept && !w.inPlace }

// lookUnfinished looks at an unfinished checkpoint that a save by marker may remove:
// first at its own path, then again under its temporary name.
func (w *whole) lookUnfinished(ctx context.Context, dir string) ([]storage.Item, error) {
	if dir == w.Name {
		if err := w.checkFree(ctx); err != nil {
			return nil, err
		}
	}
	return w.proof(ctx, dir)
}

// Open writes the list of handlers if one of them may write arbitrary files.
func (w *whole) Open(ctx context.Context, p *Plan) (context.Context, storage.Files, error) {
	if !w.needsMarker() { // else there is one claim, and Begin has undone what a dead writer of it had begun
		w.removeLeft(ctx) // removing large leftovers takes seconds, for which SaveAsync does not wait
	}
	if !slices.ContainsFunc(p.Items, func(item *Item) bool { return proof.IsOwn(p.Meta.Handlers[item.Name]) }) {
		return ctx, w.stage, nil
	}
	doc, err := layout.EncodeJSON(map[string]any{"item_handlers": p.Meta.Handlers})
	if err != nil {
		return nil, nil, err
	}
	return ctx, w.stage, p.WriteFile(ctx, w.stage, layout.HandlersFile, doc)
}

// Publish writes the documents and commits the stage, unless the checkpoint that it
// replaces has changed meanwhile.
func (w *whole) Publish(ctx context.Context, p *Plan) error {
	err := w.writeDocuments(ctx, p)
	p.Engine.Meter.Begin(transfer.Committing, 0)
	if err == nil && w.overwrite && w.keepsOld() {
		err = w.checkFree(ctx)
	}
	if err != nil {
		return errors.Join(err, w.stage.Abort())
	}
	return w.stage.Commit(ctx)
}

func (w *whole) writeDocuments(ctx context.Context, p *Plan) error {
	group, gctx := parallel.WithContext(ctx)
	group.SetLimit(transfer.AtOnce(w.Store.Properties(), 16))
	for _, item := range p.Items {
		if !w.marked {
			break
		}
		group.Go(func() error {
			return p.WriteFile(gctx, w.stage, path.Join(item.Name, layout.CommitFile), documents.Mark(w.stage.Properties(), path.Join(w.Name, item.Name)))
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return documents.Write(ctx, p.Engine, w.stage, &p.Meta, &p.Digests, layout.DigestFile, w.Name)
}

// Stage returns the stage, if it has been begun.
func (w *whole) Stage() storage.Stage { return w.stage }

// Abort gives up the stage, if it has been begun.
func (w *whole) Abort(why error) error {
	if w.stage == nil {
		return why
	}
	return errors.Join(why, w.stage.Abort())
}
