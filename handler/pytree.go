package handler

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// PyTreeHandler stores a tree of arrays, scalars and strings; package tree says
// which Go value is which tree. Its Metadata is a *view.TreeMetadata.
type PyTreeHandler struct{}

// Type returns the name of Orbax's own handler of pytrees.
func (PyTreeHandler) Type() string { return typePrefix + "pytree_handler.PyTreeHandler" }

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
		_, more := planSave(leaves, opts.Storage)
		return nil, errors.Join(err, more)
	}
	if len(leaves) == 1 && len(leaves[0].Path) == 0 {
		if e, ok := leaves[0].Value.(tree.Empty); ok {
			return nil, fmt.Errorf("%w: the tree is empty (%v)", fault.ErrStructure, e)
		}
	}
	p, err := planSave(leaves, opts.Storage)
	if err != nil {
		return nil, err
	}
	if opts.Announce != nil {
		if err := opts.Announce(p.leastBytes()); err != nil {
			return nil, err
		}
	}
	if opts.Snapshot && !opts.Immutable {
		if err := p.snapshot(ctx, &opts); err != nil {
			return nil, err
		}
	}
	return p.write, nil
}

// Abstract as the target of a load asks for a new tree of the structure, dtypes,
// shapes and shardings of Tree; see tree.BindAbstract. A *view.TreeMetadata
// stands for the tree that it describes.
type Abstract struct{ Tree any }

// CanLoad takes every target except nil; Load reports which one it cannot fill.
func (PyTreeHandler) CanLoad(target any) bool { return target != nil }

// Load fills target, which tree.Bind must be able to fill, or returns what
// tree.Build makes of the tree, or the tree that an [Abstract] asks for. If the target
// does not fit, the error joins one *orbax.LeafError for each mismatch, and no array
// has been read; a target for another kind of checkpointable, such as a [Stateful] or a
// [JSON], is an error that matches orbax.ErrStructure. Damage matches orbax.ErrCorrupt.
func (PyTreeHandler) Load(ctx context.Context, dir *ReadDir, target any, opts LoadOptions) (any, error) {
	t, err := opts.OpenView(ctx, dir)
	if err == nil {
		err = otherKind(target)
	}
	if err != nil {
		return nil, err
	}
	t = t.Counted(dir.engine)
	switch target := target.(type) {
	case nil:
		return t.Load(ctx)
	case Abstract:
		abstract := target.Tree
		if m, ok := abstract.(*view.TreeMetadata); ok && m != nil {
			if abstract, err = m.Abstract(); err != nil {
				return nil, err
			}
		}
		return t.LoadAbstract(ctx, abstract, opts.BindOptions)
	}
	return target, t.LoadInto(ctx, target, opts.BindOptions)
}

// Metadata returns a *view.TreeMetadata. It reads documents and no arrays.
func (PyTreeHandler) Metadata(ctx context.Context, dir *ReadDir) (any, error) {
	t, err := OpenTree(ctx, dir, OpenOptions{})
	if err != nil {
		return nil, err
	}
	return t.Metadata(), nil
}
