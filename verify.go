package orbax

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/savehook"
)

// Verify reads everything in the checkpoint at path and checks it against the
// checksums that are stored with it. The error, which matches ErrCorrupt,
// names every damaged leaf and file; see Error.Leaves.
//
// In a checkpoint that this package wrote every bit of every file is covered, but for
// those that belong only to other steps of a run, in files that it shares with them.
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
	errs = append(errs, savehook.CheckDocuments(ctx, c.store, c.dir, c.digests))
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
