// Package savehook is what package orbax shares with the packages above it that
// write checkpoints of their own, and does not export: the documents that end
// every save, a save that ends up elsewhere than at its path, and one that is a
// step of a run.
package savehook

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/tree"
)

// Into makes of orbax.Save a save of one part of the checkpoint at the path,
// which is stored elsewhere until the others are there.
type Into struct {
	// Accept refuses leaves that cannot be saved, in arrays of zarr format 2 or 3. Nothing
	// has been copied.
	Accept func(ctx context.Context, leaves []tree.Leaf, zarr2 bool) error
	// Begin starts the stage that is written and committed. It may wait.
	Begin func(ctx context.Context) (storage.Stage, error)
	// DigestFile is the name of the digest file in the stage.
	DigestFile string
}

// Option returns the orbax.SaveOption for an Into. Package orbax sets it.
var Option func(*Into) any

// Step makes of orbax.Save a save of a step of a run.
type Step struct {
	// Managed says that a Checkpointer saves it: Force has a meaning only there.
	Managed bool
	// Force saves the step whatever the policy says of it.
	Force bool
	// ReplaceUnfinished is Overwrite of what a save by marker has left unfinished, and
	// of nothing else.
	ReplaceUnfinished bool
	// ReplaceDamaged says that what is at the path is damaged, and that the run has gone
	// on from before it. A save by marker, which cannot keep what it replaces, then writes
	// the same files under a temporary name and renames them.
	ReplaceDamaged bool
	// Metrics, if not nil, are saved beside the checkpointables.
	Metrics any
	// MakeRoom, if not nil, is called when the disk has not room enough. It frees
	// what it can.
	MakeRoom func(ctx context.Context) error
	// Like, if not "", is the path of the step before: JSON documents are called as
	// there.
	Like string
	// Sharing, if not nil, lets pytrees share bytes with an earlier step.
	Sharing *Sharing
}

// Sharing says what a save shares with an earlier checkpoint; see handler.Reuse.
type Sharing struct {
	Base       string // path of that checkpoint; "" if there is none
	FreshEvery int
	MaxDead    float64
	// Problem is called with the reason why something cannot be shared that might have been. It may
	// be called by several goroutines.
	Problem func(error)
}

// StepOption returns an orbax.SaveCheckpointablesOption that calls f with the step
// that is saved. Package orbax sets it.
var StepOption func(f func(*Step)) any

// DeleteIf returns an orbax.DeleteOption that calls still once the target is
// claimed, so that no other writer can change it. With an error, which orbax.Delete returns,
// it stays. Package orbax sets it.
var DeleteIf func(still func(ctx context.Context) error) any

// Settings are what a Checkpointer needs to know of a save's options.
type Settings struct {
	Step
	Overwrite bool
	Named     bool // a Name is given
}

// SaveSettings returns those of options, which are each an orbax.SaveOption.
// Package orbax sets it.
var SaveSettings func(options []any) Settings

// CloseAfter notes in ck, an *orbax.Checkpoint, that the function that opened it closes
// it. Loads that are valid only until then are refused. Package orbax sets it.
var CloseAfter func(ck any)

// PyTrees returns the names of those checkpointables of ck, an *orbax.Checkpoint, that are
// pytrees, sorted: none if it is nothing but a pytree. Package orbax sets it.
var PyTrees func(ctx context.Context, ck any) ([]string, error)

// Loading is what a Checkpointer needs to know of a load's options.
type Loading struct {
	Named       bool // a Name is given
	Partly      bool // some of a target is left as it is
	FollowLinks bool
	Mapped      bool
}

// LoadSettings returns that of options, which are each an orbax.LoadOption. Package
// orbax sets it.
var LoadSettings func(options []any) Loading

// Documents writes the documents at the root of a checkpoint that will be at
// path: its metadata, the digest file, which covers the others and what digests
// has, and last the commit mark. The indicator is among them, unless it has a digest:
// then it has been written.
func Documents(ctx context.Context, e *transfer.Engine, stage storage.Stage, meta *layout.CheckpointMetadata, digests *layout.Digests, digestFile, path string) error {
	doc, err := meta.Document()
	if err != nil {
		return err
	}
	mark := Mark(path)
	begun := digests.Has(layout.IndicatorFile)
	files := map[string][]byte{layout.IndicatorFile: nil, layout.CheckpointFile: doc, layout.CommitFile: mark}
	for name, data := range files {
		digests.Add(name, sha256.Sum256(data))
	}
	digests.AddCheckpoint(doc)
	files[digestFile] = digests.Document()
	delete(files, layout.CommitFile)
	group, gctx := errgroup.WithContext(ctx)
	if begun {
		delete(files, layout.IndicatorFile)
		group.SetLimit(1) // readers see each appear: always in the same order
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		group.Go(func() error { return e.WriteFile(gctx, stage, name, files[name]) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return e.WriteFile(ctx, stage, layout.CommitFile, mark)
}

// Mark returns the contents of the commit mark of what is at path.
func Mark(path string) []byte { return []byte("Checkpoint commit was successful to " + path) }

// CheckDocument compares a file of the checkpoint at dir with its digest. What is
// missing or differs is an error that matches fault.ErrCorrupt.
func CheckDocument(ctx context.Context, store storage.Store, dir, name string, digests *layout.Digests) error {
	h := sha256.New()
	err := transfer.HashFile(ctx, store, dir, name, h)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, name)
	}
	if err != nil {
		return err
	}
	if err := digests.CheckSum(name, [sha256.Size]byte(h.Sum(nil))); err != nil {
		return cmp.Or(transfer.CheckLFS(ctx, store, dir, name), err)
	}
	return nil
}

// CheckDocuments is CheckDocument for each file that has a digest; if part is not "" for
// those of that checkpointable.
func CheckDocuments(ctx context.Context, store storage.Store, dir, part string, digests *layout.Digests) error {
	var errs []error
	for _, name := range digests.Names() {
		if part == "" || strings.HasPrefix(name, part+"/") {
			errs = append(errs, CheckDocument(ctx, store, dir, name, digests))
		}
	}
	return errors.Join(errs...)
}
