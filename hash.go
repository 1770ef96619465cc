package orbax

import (
	"context"

	"github.com/go-orbax/orbax/view"
)

// Hash reads the pytree in the checkpoint at path, chosen as by [Load], and returns a
// digest of its content. The content is the structure, dtypes, shapes and every bit of
// the arrays. The digest does not depend on how the arrays are stored: chunks,
// compression, files or database, and zarr format do not count, and a tree that was
// loaded and saved again has the same digest. Names do count: a safetensors file has
// other keys than the checkpoint that it was converted from. [view.Digest] has the
// definition.
func Hash(ctx context.Context, path string, options ...LoadOption) (view.Digest, error) {
	return with(ctx, path, opening(options), func(ck *Checkpoint) (view.Digest, error) { return ck.Hash(ctx, options...) })
}

// Hash returns a digest of a pytree; see the function [Hash]. For the digests of leaves
// see [view.Tree.Hash].
func (c *Checkpoint) Hash(ctx context.Context, options ...LoadOption) (view.Digest, error) {
	t, err := c.treeFor(ctx, "hash", options)
	if err != nil {
		return view.Digest{}, err
	}
	sum, _, err := t.Hash(ctx)
	return sum, wrap(ctx, "hash", c.path, err)
}
