package orbax

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/savehook"
)

// Verify reads everything in the checkpoint at path and checks it against the
// checksums that are stored with it. The error, which matches ErrCorrupt,
// names every damaged leaf and file; see Error.Leaves.
//
// In a checkpoint that this package wrote every bit of every file is covered, but for
// those that belong only to other steps of a run, in files that it shares with them, and
// of compressed chunks two fields in the header of a zstd frame (RFC 8878, 3.1.1.1: the
// single-segment flag and the window descriptor), which say how much memory a decoder may
// need and have no part in what it decodes to. While the deletion of a checkpointable is
// under way its files are not looked at, nor is the random id in Orbax's record of it.
// A checkpoint that has lost its digest file is verified like one of Orbax, whose
// documents nothing covers, unless something else in it shows that it had one: then
// Verify reports the loss. CheckpointMetadata.Digests says whether there is one.
//
// Orbax stores no checksums of array data: of its checkpoints Verify finds what
// is missing, truncated or cannot be decoded. Chunks that a store of zarr arrays does
// not have are fill value there; see FillMissing.
func Verify(ctx context.Context, path string, options ...VerifyOption) error {
	ck, err := Open(ctx, path)
	if err != nil {
		return err
	}
	defer ck.Close()
	return ck.Verify(ctx, options...)
}

// VerifyOption is an option of Verify.
type VerifyOption interface{ applyVerify(*handler.OpenOptions) }

// Verify is the function Verify.
func (c *Checkpoint) Verify(ctx context.Context, options ...VerifyOption) error {
	var o handler.OpenOptions
	for _, option := range options {
		option.applyVerify(&o)
	}
	errs := []error{c.checkWhole()}
	if c.lostMetrics {
		errs = append(errs, fmt.Errorf("%w: the directory of the metrics is missing", fault.ErrCorrupt))
	}
	errs = append(errs, c.lostDigests(ctx), savehook.CheckDocuments(ctx, c.store, c.dir, c.digests))
	for _, name := range c.parts() {
		for _, err := range c.verifyTree(ctx, name, o) {
			if len(c.names) > 1 {
				err = inPart(name, err)
			}
			errs = append(errs, err)
		}
	}
	return wrap(ctx, "verify", c.path, c.unchanged(ctx, errors.Join(errs...)))
}

// verifyTree verifies a checkpointable if it is a pytree.
func (c *Checkpoint) verifyTree(ctx context.Context, name string, o handler.OpenOptions) []error {
	if err := c.lostTree(ctx, name); err != nil {
		return []error{err}
	}
	if !c.hasTree(ctx, name) {
		return nil
	}
	return handler.VerifyTree(ctx, c.readDir(name, nil), o)
}

// lostDigests returns an error if the digest file is missing beside a file that only this
// package writes, and never without one.
func (c *Checkpoint) lostDigests(ctx context.Context) error {
	if c.digests != nil || c.bare || c.foreign {
		return nil
	}
	marks := []string{layout.PartsFile}
	for _, name := range c.parts() {
		marks = append(marks, path.Join(name, layout.ChunksFile))
	}
	for _, mark := range marks {
		_, err := c.store.Stat(ctx, path.Join(c.dir, mark))
		if err == nil {
			return fmt.Errorf("%w: missing file %s, which is always written with %s", fault.ErrCorrupt, layout.DigestFile, mark)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
