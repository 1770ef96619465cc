package orbax

import (
	"context"

	"github.com/go-orbax/orbax/view"
)

// Hash reads the pytree in the checkpoint at path, chosen as by Load, and returns
// a digest of what it holds: its structure, dtypes, shapes and every bit of its
// arrays. It does not depend on how the arrays are stored: chunks, compression,
// files or database, and zarr format are not part of it, and what was loaded and
// saved again has the same. Names are: a safetensors file has other keys than the
// checkpoint that it was converted from. view.Digest has the definition.
func Hash(ctx context.Context, path string, options ...LoadOption) (view.Digest, error) {
	return with(ctx, path, opening(options), func(ck *Checkpoint) (view.Digest, error) { return ck.Hash(ctx, options...) })
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
