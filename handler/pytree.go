package handler

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/pytree"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/internal/treesave"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// PyTreeHandler stores a tree of arrays, scalars and strings. Package [tree] says which
// Go values are trees. The handler's Metadata is a *[view.TreeMetadata].
type PyTreeHandler struct{}

// Type returns the name of Orbax's handler of pytrees.
func (PyTreeHandler) Type() string { return layout.HandlerPrefix + "pytree_handler.PyTreeHandler" }

// CanSave accepts every value except nil. Save reports the leaves that it cannot store.
func (PyTreeHandler) CanSave(v any) bool { return v != nil }

// Save checks the tree v and returns the function that writes it. That function reads v's
// arrays, unless opts.Snapshot is set. The error joins one *orbax.LeafError for each leaf
// that Save refuses: the leaf has no form in a checkpoint (see [tree.Flatten]), its name
// clashes with another, its name cannot be that of a directory and the save writes plain
// files, or its options do not fit the array. If the same options are wrong for several
// arrays, the error names the first array and the number of the others. For an empty tree
// the error matches orbax.ErrStructure, because Orbax refuses empty trees too.
func (PyTreeHandler) Save(ctx context.Context, v any, opts SaveOptions) (WriteFunc, error) {
	save := opts.Operation.settings()
	leaves, err := tree.Flatten(v, opts.Adapters...)
	if err != nil {
		_, more := treesave.New(leaves, opts.Storage.plan(), save.Process)
		return nil, errors.Join(err, more)
	}
	if len(leaves) == 1 && len(leaves[0].Path) == 0 {
		if e, ok := leaves[0].Value.(tree.Empty); ok {
			return nil, fmt.Errorf("%w: the tree is empty (%v), and Orbax saves no tree without a leaf", fault.ErrStructure, e)
		}
	}
	p, err := treesave.New(leaves, opts.Storage.plan(), save.Process)
	if err != nil {
		return nil, err
	}
	if save.Announce != nil {
		merge := func(ctx context.Context, from *ckdir.ReadDir, to *ckdir.WriteDir) error {
			return p.Merge(ctx, from, to, &save)
		}
		sample := func(ctx context.Context) ([]byte, error) { return p.Sample(ctx, save.Engine) }
		plan := ckdir.Announced{Leaves: leaves, Bytes: p.LeastBytes(), Lines: p.Lines(), Sample: sample, Choose: p.Choose, Merge: merge}
		if err := save.Announce(plan); err != nil {
			return nil, err
		}
	}
	if opts.Snapshot && !opts.Immutable {
		var memory *transfer.Memory
		if opts.SnapshotMemory != nil {
			memory = &opts.SnapshotMemory.memory
		}
		if err := p.Snapshot(ctx, save.Engine, memory); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context, dir *WriteDir) error { return p.Write(ctx, dir.inner(), &save) }, nil
}

// CanLoad accepts every target except nil. Load reports the targets that it cannot fill.
func (PyTreeHandler) CanLoad(target any) bool { return target != nil }

// Load is [LoadTree] for the handler.
func (h PyTreeHandler) Load(ctx context.Context, dir *ReadDir, target any, opts LoadOptions) (any, error) {
	return LoadTree(ctx, h, dir, target, opts)
}

// Metadata returns a *[view.TreeMetadata]. It reads documents but no arrays.
func (h PyTreeHandler) Metadata(ctx context.Context, dir *ReadDir) (any, error) {
	return TreeMetadata(ctx, h, dir)
}

// OpenTree reads the documents and the index of the pytree in dir, but no arrays. If
// something is wrong with a single leaf, the tree opens and the leaf's
// [view.LeafMetadata] reports it: a document or a chunk is missing, for example, or a
// codec is unknown. If something is wrong with a document of the whole tree, or with the
// index, OpenTree returns an error.
//
// If dir is the top of a path that is no checkpoint of Orbax, OpenTree opens safetensors
// files, a file of Flax, or a store of zarr arrays.
func (PyTreeHandler) OpenTree(ctx context.Context, dir *ReadDir, opts OpenOptions) (*view.Tree, error) {
	return pytree.Open(ctx, dir.inner(), pytree.Options(opts))
}
