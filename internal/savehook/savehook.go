// Package savehook is what package orbax shares with the packages above it that
// write checkpoints of their own, and does not export: the documents that end
// every save, and a save that ends up elsewhere than at its path.
package savehook

import (
	"context"
	"crypto/sha256"

	"golang.org/x/sync/errgroup"

	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/tree"
)

// Into makes of orbax.Save a save of one part of the checkpoint at the path,
// which is stored elsewhere until the others are there.
type Into struct {
	// Accept refuses leaves that cannot be saved. Nothing has been copied.
	Accept func(ctx context.Context, leaves []tree.Leaf) error
	// Begin starts the stage that is written and committed. It may wait.
	Begin func(ctx context.Context) (storage.Stage, error)
	// DigestFile is the name of the digest file in the stage.
	DigestFile string
}

// Option returns the orbax.SaveOption for an Into. Package orbax sets it.
var Option func(*Into) any

// Documents writes the documents at the root of a checkpoint that will be at
// path: its metadata, the digest file, which covers the others and what digests
// has, and last the commit mark.
func Documents(ctx context.Context, e *transfer.Engine, stage storage.Stage, meta *layout.CheckpointMetadata, digests *layout.Digests, digestFile, path string) error {
	doc, err := meta.Document()
	if err != nil {
		return err
	}
	mark := []byte("Checkpoint commit was successful to " + path)
	files := map[string][]byte{layout.IndicatorFile: nil, layout.CheckpointFile: doc, layout.CommitFile: mark}
	for name, data := range files {
		digests.Add(name, sha256.Sum256(data))
	}
	files[digestFile] = digests.Document()
	delete(files, layout.CommitFile)
	group, gctx := errgroup.WithContext(ctx)
	for name, data := range files {
		group.Go(func() error { return e.WriteFile(gctx, stage, name, data) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return e.WriteFile(ctx, stage, layout.CommitFile, mark)
}
