package handler

import (
	"context"
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

// PyTreeHandler stores a tree of arrays, scalars and strings; package tree says
// which Go value is which tree. Its Metadata is a *TreeMetadata.
type PyTreeHandler struct{}

func (PyTreeHandler) Type() string { return typePrefix + "pytree_handler.PyTreeHandler" }

// CanSave takes every value; Save tells which leaves it cannot store.
func (PyTreeHandler) CanSave(v any) bool { return v != nil }

func (PyTreeHandler) Save(ctx context.Context, v any, opts SaveOptions) (WriteFunc, error) {
	leaves, err := tree.Flatten(v, opts.Adapters...)
	if err != nil {
		return nil, err
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
	if opts.Snapshot {
		if err := p.snapshot(ctx); err != nil {
			return nil, err
		}
	}
	return p.write, nil
}

// CanLoad takes every target; Load tells what it cannot fill.
func (PyTreeHandler) CanLoad(target any) bool { return target != nil }

func (PyTreeHandler) Load(ctx context.Context, dir *ReadDir, target any, opts LoadOptions) (any, error) {
	t, err := OpenTree(ctx, dir)
	if err != nil {
		return nil, err
	}
	if target == nil {
		return t.Load(ctx)
	}
	return target, t.LoadInto(ctx, target, opts.Adapters...)
}

func (PyTreeHandler) Metadata(ctx context.Context, dir *ReadDir) (any, error) {
	t, err := OpenTree(ctx, dir)
	if err != nil {
		return nil, err
	}
	return t.Metadata(), nil
}
