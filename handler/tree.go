package handler

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// TreeHandler is a [Handler] whose checkpointables are trees of leaves, like those of
// [PyTreeHandler]. Package orbax asks for a TreeHandler wherever it needs the tree
// instead of a value: in Tree, Metadata, Hash, Diff and Verify, and for the options that
// select or transform leaves.
//
// A handler that embeds PyTreeHandler is a TreeHandler. If it changes what OpenTree
// returns, it must also define Load and Metadata, because the methods of PyTreeHandler
// call PyTreeHandler.OpenTree. [LoadTree] and [TreeMetadata] do the work of these two
// methods.
type TreeHandler interface {
	Handler
	// OpenTree opens the tree in dir and reads no arrays. If something is wrong with a
	// single leaf, its [view.LeafMetadata] reports it and OpenTree returns no error.
	OpenTree(ctx context.Context, dir *ReadDir, opts OpenOptions) (*view.Tree, error)
}

// LoadOptions are the settings of a load that concern its handlers. They apply to trees:
// if a checkpointable is loaded alone by a handler that is no [TreeHandler], package
// orbax refuses them.
type LoadOptions struct {
	tree.BindOptions
	OpenOptions
	// Views change the tree before it is read. They are applied one after the other.
	Views []func(context.Context, *view.Tree) (*view.Tree, error)
}

// OpenOptions say how a stored pytree is read.
type OpenOptions struct {
	// Fill replaces missing chunks by the array's fill value, as the zarr specification
	// demands. Without Fill, a missing chunk is damage in a tree of Orbax, because Orbax
	// v1 writes every chunk. A store of zarr arrays is filled even without Fill, unless
	// hardly any of its data is stored. With Fill, a document of a few bytes can stand
	// for an array of any size, so set it only for checkpoints that you trust.
	Fill bool
}

// OpenView opens the tree in dir by h and applies the options. It reads no arrays.
func (o *LoadOptions) OpenView(ctx context.Context, h TreeHandler, dir *ReadDir) (*view.Tree, error) {
	t, err := openTree(ctx, h, dir, o.OpenOptions)
	for _, change := range o.Views {
		if err != nil {
			return nil, err
		}
		t, err = change(ctx, t)
	}
	return t, err
}

// openTree calls OpenTree of h, which must return a tree or an error.
func openTree(ctx context.Context, h TreeHandler, dir *ReadDir, opts OpenOptions) (*view.Tree, error) {
	t, err := h.OpenTree(ctx, dir, opts)
	if t == nil && err == nil {
		err = fmt.Errorf("%w: OpenTree of the handler %s returned neither a tree nor an error", fault.ErrUnsupported, h.Type())
	}
	return t, err
}

// Abstract, as the target of a load, asks for a new tree like Tree. The new tree has the
// structure, dtypes, shapes and shardings of Tree; see [tree.BindAbstract]. If Tree is a
// *[view.TreeMetadata], it stands for the tree that it describes.
type Abstract struct{ Tree any }

// LoadTree loads the tree in dir; a [TreeHandler] can use it as its Load. It opens the
// tree by h, applies the options and fills target, which [tree.Bind] must be able to
// fill. If target is nil, it returns the tree that [tree.Build] makes. If target is an
// [Abstract], it returns the tree that the Abstract asks for. If the target does not fit,
// the error joins one *orbax.LeafError for each mismatch, and no array has been read. If
// the target is for another kind of checkpointable, such as a [Stateful] or a [JSON], the
// error matches orbax.ErrStructure. Damage matches orbax.ErrCorrupt.
func LoadTree(ctx context.Context, h TreeHandler, dir *ReadDir, target any, opts LoadOptions) (any, error) {
	t, err := opts.OpenView(ctx, h, dir)
	if err == nil {
		err = otherKind(target)
	}
	if err != nil {
		return nil, err
	}
	ctx = transfer.WithMeter(ctx, dir.inner().Engine().Counters())
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

// TreeMetadata returns the *[view.TreeMetadata] of the tree that h opens in dir. A
// [TreeHandler] can use it as its Metadata.
func TreeMetadata(ctx context.Context, h TreeHandler, dir *ReadDir) (any, error) {
	t, err := openTree(ctx, h, dir, OpenOptions{})
	if err != nil {
		return nil, err
	}
	return t.Metadata(), nil
}

// otherKind refuses targets that belong to other handlers and could otherwise be taken
// for a pytree of their fields.
func otherKind(target any) error {
	const saved = "it was saved as a pytree"
	switch t := target.(type) {
	case *datasetIterator:
		return fmt.Errorf("%w: %s, and not as the position of an iterator; wrap the iterator in handler.DatasetIterator when it is saved, too", fault.ErrStructure, saved)
	case Stateful:
		return fmt.Errorf("%w: %s, and a %T loads only what its SaveState has written", fault.ErrStructure, saved, t)
	case JSON, *JSON, *json.RawMessage:
		return fmt.Errorf("%w: %s, and not as JSON; give a pointer to the value itself as the target", fault.ErrStructure, saved)
	}
	return nil
}
