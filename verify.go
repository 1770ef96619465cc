package orbax

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/transfer"
)

// Verify reads everything in the checkpoint at path and checks it against the
// checksums that are stored with it. The error, which matches ErrCorrupt,
// names every damaged leaf and file; see Error.Leaves.
//
// In a checkpoint that this package wrote every bit of every file is covered.
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
	var errs []error
	for _, name := range c.digests.Names() {
		errs = append(errs, c.verifyFile(ctx, name))
	}
	for _, name := range c.names {
		t, err := c.tree(ctx, name)
		switch {
		case errors.Is(err, errNoTree):
		case err != nil:
			errs = append(errs, inItem(name, len(c.names) > 1, err))
		default:
			for _, err := range t.Verify(ctx) {
				errs = append(errs, inItem(name, len(c.names) > 1, err))
			}
		}
	}
	return wrap("verify", c.path, errors.Join(errs...))
}

// verifyFile compares a file with its digest.
func (c *Checkpoint) verifyFile(ctx context.Context, name string) error {
	doc, err := transfer.ReadFile(ctx, c.store, c.dir, name, 0, -1)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, name)
	}
	if err != nil {
		return err
	}
	return c.digests.Check(name, doc)
}

var errNoTree = errors.New("not a pytree")

// tree opens the pytree called name; errNoTree if it is of another kind.
func (c *Checkpoint) tree(ctx context.Context, name string) (*handler.Tree, error) {
	dir := c.readDir(name)
	_, err := c.store.Stat(ctx, c.dir+"/"+name+"/"+layout.TreeFile)
	if errors.Is(err, fs.ErrNotExist) && !c.digests.Has(name+"/"+layout.TreeFile) {
		return nil, errNoTree
	}
	return handler.OpenTree(ctx, dir)
}

// Tree opens the pytree that Name says, chosen as by Load: for those who want
// single leaves, or to stream the data.
func (c *Checkpoint) Tree(ctx context.Context, options ...LoadOption) (*handler.Tree, error) {
	name, err := c.pick(ctx, newLoadConfig(options).name)
	if err != nil {
		return nil, wrap("open", c.path, err)
	}
	t, err := handler.OpenTree(ctx, c.readDir(name))
	return t, wrap("open", c.path, err)
}
