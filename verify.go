package orbax

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/database"
	"github.com/go-orbax/orbax/internal/documents"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/found"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/pytree"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/view"
)

// Verify reads everything in the checkpoint at path and checks it against the checksums
// that are stored with it. The error, which matches [ErrCorrupt], names every damaged
// leaf and file; see [Error.Leaves].
//
// In a checkpoint that this package wrote, Verify covers every bit of every file, with
// these exceptions:
//   - bytes that belong only to other steps of a run, in files that the checkpoint shares
//     with them;
//   - bits of a compressed chunk that no decoder of a zstd frame needs (RFC 8878): the
//     single-segment flag and the window descriptor of its header, which say how much
//     memory may be needed, the bits that fill up the last byte of a table, and the bits
//     that spell the same table in another way. They do not change the decoded chunk;
//   - while a checkpointable is being deleted, its files, and the random id in Orbax's
//     record of the deletion.
//
// Verify checks every document against its digest. It also checks every chunk against the
// record of the chunk that was saved in its place, the file go-orbax.places in the
// directory of the pytree. A chunk, or a file of chunks, from another leaf or another
// step is therefore damage, although its checksum is right. Bytes of an array that
// another program has written into the checkpoint after the save are damage too.
//
// Some checkpoints have no such record: those of earlier versions, arrays that Orbax
// saved as a part of the checkpoint, and sessions of partial saves that Orbax finalized
// or began to finalize. In these Verify does not find a whole chunk in a wrong place.
//
// The loss of the index over the databases of a pytree, its manifest.ocdbt, is damage if
// this package has made the checkpoint of a session of partial saves, although this package
// can load it without one. [Repair] makes a new index. In a checkpoint of Orbax nothing
// shows whether there was an index.
//
// The loss of the digest file is damage if another file shows that there was one:
// go-orbax.places or go-orbax.chunks of a pytree, go-orbax.handlers or partial_save.json.
// A checkpoint without these files, as earlier versions saved it, is verified like a
// checkpoint of Orbax, in which nothing covers the documents.
// [CheckpointMetadata.Digests] says whether there is a digest file.
//
// Orbax stores no checksums of array data: in its checkpoints Verify finds data that is
// missing, truncated or cannot be decoded. A missing chunk in a store of zarr arrays has
// the fill value; see [FillMissing].
func Verify(ctx context.Context, path string, options ...VerifyOption) error {
	ck, err := Open(ctx, path, openingOf(&newVerifyConfig(options).Open)...)
	if err != nil {
		return err
	}
	defer ck.Close()
	return ck.Verify(ctx, options...)
}

// VerifyOption is an option of [Verify]: [FillMissing], [FollowLinks], [Handlers] or
// [In].
type VerifyOption interface{ applyVerify(*verifyConfig) }

type verifyConfig struct {
	config.Open
	handler  handler.OpenOptions
	registry *handler.Registry
}

func newVerifyConfig(options []VerifyOption) *verifyConfig {
	c := &verifyConfig{}
	for _, o := range options {
		if o != nil {
			o.applyVerify(c)
		}
	}
	return c
}

// Verify verifies the checkpoint; see the function [Verify].
func (c *Checkpoint) Verify(ctx context.Context, options ...VerifyOption) error {
	cfg := newVerifyConfig(options)
	if err := c.checkOpening(&cfg.Open); err != nil {
		return wrap(ctx, "verify", c.path, err)
	}
	errs := []error{c.found.CheckWhole(), c.verifyMetrics(ctx)}
	files := documents.CheckAll(ctx, c.found.Stored(), c.found.Item, c.found.Digests)
	errs = append(errs, c.lostDigests(ctx), errors.Join(files...))
	reported := map[string]bool{} // a pytree reports its damaged documents too
	for _, err := range files {
		reported[err.Error()] = true
	}
	for _, name := range c.found.Items() {
		for _, err := range c.verifyTree(ctx, name, cfg) {
			if reported[err.Error()] {
				continue
			}
			if len(c.found.Names) > 1 {
				err = fault.InItem(name, err)
			}
			errs = append(errs, err)
		}
	}
	return wrap(ctx, "verify", c.path, c.unchanged(ctx, errors.Join(errs...)))
}

// verifyTree verifies a checkpointable: a pytree, a tree of a handler that was given, or
// documents that nothing covers.
func (c *Checkpoint) verifyTree(ctx context.Context, name string, cfg *verifyConfig) []error {
	if err := c.found.LostTree(ctx, name); err != nil {
		return []error{err}
	}
	isTree, err := c.found.HasTree(ctx, name)
	if err != nil {
		return []error{err}
	}
	own := c.ownTrees(name, cfg.registry)
	var t *view.Tree
	if own != nil {
		if t, err = (&handler.LoadOptions{OpenOptions: cfg.handler}).OpenView(ctx, own, c.ownDir(name)); err != nil && !isTree {
			return []error{err}
		}
	}
	switch {
	case isTree: // all that is stored, which may be more than the handler shows
		errs := pytree.Verify(ctx, c.itemDir(name), pytree.Options(cfg.handler))
		if lost := c.lostIndex(ctx, name); lost != nil {
			errs = append(errs, lost)
		}
		if len(errs) == 0 && err != nil {
			errs = []error{err}
		}
		return errs
	case own != nil:
		return t.Verify(ctx)
	case found.IsOf[handler.JSONHandler](c.found.Meta.Handlers[name]):
		if err := c.verifyJSON(ctx, name); err != nil {
			return []error{err}
		}
	}
	return nil
}

// verifyMetrics looks whether the metrics that the checkpoint says it has can be read.
func (c *Checkpoint) verifyMetrics(ctx context.Context) error {
	if c.found.LostMetrics {
		return fmt.Errorf("%w: the directory of the metrics is missing", fault.ErrCorrupt)
	}
	if _, named := c.found.Meta.Handlers[layout.MetricsName]; !named || !c.found.HasItems() || c.found.Item != "" {
		return nil
	}
	_, err := handler.MetricsHandler{}.Metadata(ctx, c.ownDir(layout.MetricsName))
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, path.Join(layout.MetricsName, layout.MetricsName))
	}
	return err
}

// verifyJSON looks whether a JSON checkpointable has a document, which programs may
// call as they like, and whether all that it has are JSON.
func (c *Checkpoint) verifyJSON(ctx context.Context, name string) error {
	dir := c.ownDir(name)
	infos, err := dir.List(ctx, ".")
	if err != nil {
		return err
	}
	var errs []error
	found := false
	for _, info := range infos {
		if info.Dir || info.Name != "metadata" && path.Ext(info.Name) != ".json" {
			continue
		}
		found = true
		doc, err := dir.ReadFile(ctx, info.Name)
		if err == nil {
			_, err = layout.DecodeJSON(doc)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", path.Join(name, info.Name), err))
		}
	}
	if !found && len(infos) == 0 {
		errs = append(errs, fmt.Errorf("%w: checkpointable %q has no document", fault.ErrCorrupt, name))
	}
	return errors.Join(errs...)
}

// lostIndex returns an error if a pytree that this package made of the parts of a session
// has lost the index of their databases. This package reads the databases without it, and
// Orbax does not. In a checkpoint of Orbax nothing shows whether there was an index.
func (c *Checkpoint) lostIndex(ctx context.Context, name string) error {
	if c.found.Digests == nil || !c.found.Digests.Has(layout.PartsFile) {
		return nil
	}
	databases, err := database.Names(ctx, c.itemDir(name))
	if err != nil || len(databases) == 0 {
		return err
	}
	manifest := path.Join(name, ocdbt.ManifestName)
	_, err = c.found.At.Join(manifest).Stat(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: missing file %s, the index of its databases, without which Orbax cannot load it", fault.ErrCorrupt, manifest)
		return fault.Advise(err, fault.Repair, "Repair makes a new one")
	}
	return err
}

// lostDigests returns an error if the digest file is missing beside a file that only this
// package writes, and never without one. A pytree that somebody has copied out of its
// checkpoint is a flat one, and the digests were never in it: this package writes no other
// flat ones.
func (c *Checkpoint) lostDigests(ctx context.Context) error {
	if c.found.Digests != nil || !c.found.HasItems() || c.found.IsBare() || c.found.IsForeign() {
		return nil
	}
	marks := []string{layout.PartsFile, layout.HandlersFile}
	for _, name := range c.found.Items() {
		// A part of a session has its record under another name, and Orbax, which may
		// have finalized the session, writes no digests.
		marks = append(marks, path.Join(name, layout.ChunksFile), path.Join(name, layout.PlacesFile))
	}
	for _, mark := range marks {
		_, err := c.found.At.Join(mark).Stat(ctx)
		if err == nil {
			return fmt.Errorf("%w: missing file %s, which is always written with %s", fault.ErrCorrupt, layout.DigestFile, mark)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
