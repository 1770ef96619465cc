package orbax

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/documents"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/found"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/proof"
	"github.com/go-orbax/orbax/internal/save"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

// Save writes state, which must have at least one leaf, as a checkpoint at path,
// which must not exist unless Overwrite is given; missing parents are created. It
// returns when the checkpoint is complete and durable. After an error, or when ctx
// is cancelled, nothing is left behind but parents. The one exception: an error
// that matches ErrInPlace reports what could not be done after the checkpoint was in
// place. A save that cannot fit on the disk is refused before it starts, with
// ErrNoSpace.
//
// The state must not change before Save returns. Large arrays are written from
// where they lie, and their checksums computed on the way: one that changes in
// between is found to be damaged when it is loaded.
func Save(ctx context.Context, path string, state any, options ...SaveOption) error {
	c := save.NewConfig(options)
	return saveNow(ctx, path, map[string]any{c.Name: state}, c)
}

// SaveAsync is Save in the background: it returns when state has been copied,
// and the caller may change it at once. With ReuseSnapshot the copies of several
// saves share their memory, with Immutable none is made. Whatever can be refused is refused by
// SaveAsync itself; later failures come from the response. ctx governs the
// whole save, also after SaveAsync has returned: do not cancel it on the way
// out of a function that leaves the save running.
//
// A program that ends without waiting leaves an unfinished temporary directory
// beside path, and path as it was.
func SaveAsync(ctx context.Context, path string, state any, options ...SaveOption) (*AsyncResponse, error) {
	c := save.NewConfig(options)
	return saveAsync(ctx, path, map[string]any{c.Name: state}, c)
}

// SaveCheckpointables writes a checkpoint of several checkpointables, each in a
// directory of its name. The type of a checkpointable decides how it is stored; see
// package handler. nil is refused. If there are several pytrees, a load without [Name]
// takes the one called "state", or the first by name if there is none: call the main
// pytree "state", or give Name to loads.
func SaveCheckpointables(ctx context.Context, path string, checkpointables map[string]any, options ...SaveCheckpointablesOption) error {
	return saveNow(ctx, path, checkpointables, save.NewConfig(options))
}

// SaveCheckpointablesAsync is to SaveCheckpointables as SaveAsync is to Save.
func SaveCheckpointablesAsync(ctx context.Context, path string, checkpointables map[string]any, options ...SaveCheckpointablesOption) (*AsyncResponse, error) {
	return saveAsync(ctx, path, checkpointables, save.NewConfig(options))
}

func saveNow(ctx context.Context, path string, parts map[string]any, c *save.Config) (err error) {
	s := newSaving(ctx, c)
	defer func() { s.end(err) }()
	if err = s.begin(ctx, path, parts, c); err == nil {
		err = s.run(ctx)
	}
	return wrap(ctx, "save", path, err)
}

func saveAsync(ctx context.Context, path string, parts map[string]any, c *save.Config) (r *AsyncResponse, err error) {
	c.Handler.Snapshot = true
	s := newSaving(ctx, c)
	defer func() {
		if r == nil { // refused, or a handler has panicked
			s.end(err)
		}
	}()
	if err = s.begin(ctx, path, parts, c); err != nil {
		return nil, wrap(ctx, "save", path, err)
	}
	return respond(func() (err error) {
		defer func() { s.end(err) }()
		return wrap(ctx, "save", path, s.run(ctx))
	}), nil
}

// saving is a save that has been accepted.
type saving struct {
	store      storage.Store
	dir        string
	overwrite  bool
	unfinished bool // what is overwritten must be unfinished
	marked     bool // committed by marker: each checkpointable has the mark too
	inPlace    bool // and written where it will be
	stage      storage.Stage
	meta       layout.CheckpointMetadata
	writes     map[string]handler.WriteFunc
	handlers   map[string]handler.Handler // of the checkpointables
	registry   *handler.Registry
	digests    layout.Digests
	into       *save.Into          // of a partial save
	sharing    *sharing            // with an earlier step; nil: none
	like       func() *found.Found // the step before; nil: none
	engine     *transfer.Engine
	observer   *observer
	least      int64 // bytes that will be written at least
}

func newSaving(ctx context.Context, c *save.Config) *saving {
	marked := c.Marker
	inPlace := marked && !c.Step.ReplaceDamaged // else the old one stays until this is complete
	s := &saving{
		overwrite:  c.Overwrite || c.Step.ReplaceUnfinished,
		unfinished: !c.Overwrite && c.Step.ReplaceUnfinished || inPlace,
		marked:     marked,
		inPlace:    inPlace,
		meta:       layout.CheckpointMetadata{Handlers: map[string]string{}, InitTime: time.Now()},
		writes:     map[string]handler.WriteFunc{},
		handlers:   map[string]handler.Handler{},
		registry:   c.Registry,
		into:       c.Into,
		sharing:    newSharing(ctx, c.Step),
		like:       func() *found.Found { return nil },
		engine:     c.NewEngine(),
	}
	if c.Step.Like != "" {
		s.like = openEarlier(ctx, c.Step.Like, func(error) {}) // then they have their own names
	}
	s.observer = newObserver("save", &c.Common, s.engine.Meter)
	return s
}

// end gives back what the save has taken, and tells what it did.
func (s *saving) end(err error) {
	s.engine.Release()
	s.observer.end(err)
}

// begin checks everything that can be checked, takes what it needs of the
// parts, and claims the path. Nothing is written before all of it is accepted.
func (s *saving) begin(ctx context.Context, path string, parts map[string]any, c *save.Config) (err error) {
	if s.store, s.dir, err = storage.Resolve(path); err != nil {
		return err
	}
	c.Handler.Operation = (*handler.Operation)(ckdir.NewOperation(ckdir.Settings{
		Engine: s.engine,
		Announce: func(bytes int64) error {
			s.least += bytes
			return s.checkRoom(ctx, c.Step.MakeRoom)
		},
		Unmerged: s.into != nil,
		Reuse:    s.sharing.of,
		Like: func(name string) *ckdir.ReadDir {
			if before := s.like(); before != nil && before.Has(name) {
				return before.ReadDir(name, before.Unchanged)
			}
			return nil
		},
	}))
	custom, err := layout.CheckCustom(c.Custom)
	errs := []error{err, s.checkAtomicity(c)}
	s.meta.Custom = custom
	if len(parts) == 0 {
		errs = append(errs, fmt.Errorf("%w: nothing to save", fault.ErrStructure))
	}
	names := slices.Sorted(maps.Keys(parts))
	for _, name := range names {
		errs = append(errs, layout.CheckName(name))
	}
	if err := errors.Join(append(errs, s.checkPlace(ctx), s.checkTarget(ctx))...); err != nil {
		return err
	}
	if err := s.accept(ctx, parts[c.Name], c); err != nil {
		return err
	}
	for _, name := range names {
		errs = append(errs, s.prepare(ctx, name, parts[name], c))
	}
	errs = append(errs, s.prepareStep(ctx, c))
	if err := errors.Join(errs...); err != nil || s.into != nil {
		return err
	}
	if s.inPlace {
		err = s.beginInPlace(ctx)
	} else {
		s.stage, err = s.store.Begin(ctx, s.dir, storage.BeginOptions{Replace: s.replaces(proof.Replaced(s.store))})
	}
	return err
}

// replaces returns look if the save replaces what is at its path, else nil.
func (s *saving) replaces(look storage.Look) storage.Look {
	if s.overwrite {
		return look
	}
	return nil
}

// prepare lets the handler of one part check it and take what it needs.
func (s *saving) prepare(ctx context.Context, name string, part any, c *save.Config) error {
	if part == nil {
		return fmt.Errorf("%w: checkpointable %q is nil", fault.ErrLeafType, name)
	}
	h, err := c.Registry.ForSave(name, part)
	if err != nil {
		return err
	}
	if _, ok := h.(handler.PyTreeHandler); s.into != nil && !ok {
		return fmt.Errorf("%w: a partial save is of a pytree, not of %T", fault.ErrLeafType, part)
	}
	write, err := h.Save(ctx, part, c.Handler)
	if err != nil && name != c.Name {
		err = inPart(name, err) // one of several, not what Save was given
	}
	if err != nil {
		return err
	}
	if write == nil {
		return inPart(name, fmt.Errorf("%w: handler %s returned no function to write it", fault.ErrUnsupported, h.Type()))
	}
	s.writes[name] = write
	s.handlers[name] = h
	return nil
}

// run writes the checkpoint and commits it.
func (s *saving) run(ctx context.Context) error {
	if s.into != nil {
		var err error
		if s.stage, err = s.into.Begin(ctx); err != nil {
			return err
		}
	} else {
		s.removeLeft(ctx) // what has much in it takes seconds, for which SaveAsync does not wait
	}
	if s.sharing == nil { // else the fingerprints come first
		s.engine.Meter.Begin(transfer.Moving, 0)
	}
	err := s.write(ctx)
	s.engine.Meter.Begin(transfer.Committing, 0)
	if err == nil && (s.overwrite && !s.inPlace || s.into != nil) {
		err = s.checkTarget(ctx) // it may have changed meanwhile
	}
	if err != nil {
		return errors.Join(err, s.stage.Abort())
	}
	return s.stage.Commit(ctx)
}

// writeHandlers writes which handlers there are, if one of them may write any files.
func (s *saving) writeHandlers(ctx context.Context) error {
	own := func(name string) bool { return proof.IsOwn(s.meta.Handlers[name]) }
	if s.into != nil || !slices.ContainsFunc(slices.Collect(maps.Keys(s.writes)), own) {
		return nil
	}
	doc, err := layout.EncodeJSON(map[string]any{"item_handlers": s.meta.Handlers})
	if err != nil {
		return err
	}
	s.digests.Add(layout.HandlersFile, sha256.Sum256(doc))
	return s.engine.WriteFile(ctx, s.stage, layout.HandlersFile, doc)
}

func (s *saving) write(ctx context.Context) error {
	for name, h := range s.handlers {
		s.meta.Handlers[name] = s.typeOf(name, h)
	}
	if err := s.writeHandlers(ctx); err != nil {
		return err
	}
	group, gctx := errgroup.WithContext(ctx)
	for name, write := range s.writes {
		group.Go(func() error {
			dir, err := ckdir.NewWriteDir(gctx, s.engine, s.stage, name, s.digests.Add)
			if err != nil {
				return err
			}
			if err := write(gctx, (*handler.WriteDir)(dir)); err != nil || !s.marked {
				return err
			}
			return dir.WriteFile(gctx, layout.CommitFile, documents.Mark(path.Join(s.dir, name)))
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	s.meta.CommitTime = time.Now()
	digestFile := layout.DigestFile
	if s.into != nil {
		digestFile = s.into.DigestFile
	}
	return documents.Write(ctx, s.engine, s.stage, &s.meta, &s.digests, digestFile, s.dir)
}
