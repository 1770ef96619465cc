package orbax

import (
	"context"

	"github.com/go-orbax/orbax/view"
)

// Hash reads the pytree in the checkpoint at path, chosen as by Load, and returns
// a digest of what it holds: its structure, dtypes, shapes and every bit of its
// arrays. It is the same however the checkpoint is stored, so that a copy in
// another format, or what was loaded and saved again, has the same; view.Digest
// has the definition. Of the options those count that say what is loaded.
func Hash(ctx context.Context, path string, options ...LoadOption) (view.Digest, error) {
	return with(ctx, path, func(ck *Checkpoint) (view.Digest, error) { return ck.Hash(ctx, options...) })
}

// Hash is the function Hash. For the digests of leaves see view.Tree.Hash.
func (c *Checkpoint) Hash(ctx context.Context, options ...LoadOption) (view.Digest, error) {
	t, err := c.Tree(ctx, options...)
	if err != nil {
		return view.Digest{}, err
	}
	sum, _, err := t.Hash(ctx)
	return sum, wrap(ctx, "hash", c.path, err)
}
