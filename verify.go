package orbax

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/transfer"
)

// Verify reads everything in the checkpoint at path and checks it against the
// checksums that are stored with it. The error, which matches ErrCorrupt,
// names every damaged leaf and file; see Error.Leaves.
//
// In a checkpoint that this package wrote every bit of every file is covered, but for
// those that belong only to other steps of a run, in files that it shares with them.
// Orbax stores no checksums of array data: of its checkpoints Verify finds what
// is missing, truncated or cannot be decoded.
func Verify(ctx context.Context, path string) error {
	ck, err := Open(ctx, path)
	if err != nil {
		return err
	}
	defer ck.Close()
	return ck.Verify(ctx)
}

// Verify is the function Verify.
func (c *Checkpoint) Verify(ctx context.Context) error {
	errs := []error{c.checkWhole()}
	if c.lostMetrics {
		errs = append(errs, fmt.Errorf("%w: the directory of the metrics is missing", fault.ErrCorrupt))
	}
	for _, name := range c.digests.Names() {
		errs = append(errs, c.verifyFile(ctx, name))
	}
	for _, name := range c.parts() {
		for _, err := range c.verifyTree(ctx, name) {
			if len(c.names) > 1 {
				err = inPart(name, err)
			}
			errs = append(errs, err)
		}
	}
	return wrap(ctx, "verify", c.path, c.unchanged(ctx, errors.Join(errs...)))
}

// verifyFile compares a file with its digest.
func (c *Checkpoint) verifyFile(ctx context.Context, name string) error {
	h := sha256.New()
	err := transfer.HashFile(ctx, c.store, c.dir, name, h)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, name)
	}
	if err != nil {
		return err
	}
	if err := c.digests.CheckSum(name, [sha256.Size]byte(h.Sum(nil))); err != nil {
		return cmp.Or(transfer.CheckLFS(ctx, c.store, c.dir, name), err)
	}
	return nil
}

// verifyTree verifies a checkpointable if it is a pytree.
func (c *Checkpoint) verifyTree(ctx context.Context, name string) []error {
	if err := c.lostTree(ctx, name); err != nil {
		return []error{err}
	}
	if !c.hasTree(ctx, name) {
		return nil
	}
	return handler.VerifyTree(ctx, c.readDir(name, nil))
}
