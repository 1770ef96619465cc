package handler

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/pytree"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/internal/treesave"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// PyTreeHandler stores a tree of arrays, scalars and strings; package tree says
// which Go value is which tree. Its Metadata is a *view.TreeMetadata.
type PyTreeHandler struct{}

// Type returns the name of Orbax's own handler of pytrees.
func (PyTreeHandler) Type() string { return layout.HandlerPrefix + "pytree_handler.PyTreeHandler" }

// CanSave takes every value except nil; Save reports which leaves it cannot store.
func (PyTreeHandler) CanSave(v any) bool { return v != nil }

// Save refuses what it cannot store with an error that joins one
// *orbax.LeafError for each leaf: one that has no form in a checkpoint (see
// tree.Flatten), whose name clashes with another or, for plain files, cannot be
// that of a directory, or whose options do not fit the array. Options that are wrong
// for several arrays are reported for the first of them, with the number of the others.
// An empty tree is
// an error that matches orbax.ErrStructure, as it is to Orbax. The function that
// Save returns reads v's arrays unless opts.Snapshot is set.
func (PyTreeHandler) Save(ctx context.Context, v any, opts SaveOptions) (WriteFunc, error) {
	leaves, err := tree.Flatten(v, opts.Adapters...)
	if err != nil {
		_, more := treesave.New(leaves, opts.Storage.plan())
		return nil, errors.Join(err, more)
	}
	if len(leaves) == 1 && len(leaves[0].Path) == 0 {
		if e, ok := leaves[0].Value.(tree.Empty); ok {
			return nil, fmt.Errorf("%w: the tree is empty (%v)", fault.ErrStructure, e)
		}
	}
	p, err := treesave.New(leaves, opts.Storage.plan())
	if err != nil {
		return nil, err
	}
	save := opts.Operation.settings()
	if save.Announce != nil {
		if err := save.Announce(leaves, p.LeastBytes()); err != nil {
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

// CanLoad takes every target except nil; Load reports which one it cannot fill.
func (PyTreeHandler) CanLoad(target any) bool { return target != nil }

// Load is [LoadTree] for the handler.
func (h PyTreeHandler) Load(ctx context.Context, dir *ReadDir, target any, opts LoadOptions) (any, error) {
	return LoadTree(ctx, h, dir, target, opts)
}

// Metadata returns a *view.TreeMetadata. It reads documents and no arrays.
func (h PyTreeHandler) Metadata(ctx context.Context, dir *ReadDir) (any, error) {
	return TreeMetadata(ctx, h, dir)
}

// OpenTree reads the documents and the index of the pytree in dir, and no
// arrays. What is wrong with a leaf alone, such as a document or a chunk of it that
// is missing, or a codec that is not known, is in its view.LeafMetadata, and no error
// of the tree; what is wrong with a document of the whole tree, or with the index, is
// an error.
//
// At the top of a path that is no checkpoint of Orbax it opens what it finds
// there: safetensors files, a file of Flax, or a store of zarr arrays.
func (PyTreeHandler) OpenTree(ctx context.Context, dir *ReadDir, opts OpenOptions) (*view.Tree, error) {
	return pytree.Open(ctx, dir.inner(), pytree.Options(opts))
}
