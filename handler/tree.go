package handler

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// TreeHandler is a [Handler] whose checkpointables are trees of leaves, as those of
// [PyTreeHandler] are. Package orbax asks for it wherever it needs the tree and not a
// value: for Tree, Metadata, Hash, Diff and Verify, and for the options that select or
// transform leaves.
//
// A handler that embeds PyTreeHandler is one. If it changes what OpenTree returns, its
// Load and Metadata must be its own too, as the methods of PyTreeHandler call
// PyTreeHandler.OpenTree; [LoadTree] and [TreeMetadata] make them.
type TreeHandler interface {
	Handler
	// OpenTree opens the tree in dir and reads no arrays. What is wrong with a leaf
	// alone is in its view.LeafMetadata, and no error.
	OpenTree(ctx context.Context, dir *ReadDir, opts OpenOptions) (*view.Tree, error)
}

// LoadOptions are the parts of a load that concern its handlers. They are about
// trees: where an item is loaded alone by a handler that is no [TreeHandler], package orbax
// refuses them.
type LoadOptions struct {
	tree.BindOptions
	OpenOptions
	// Views change the tree before it is read, one after the other.
	Views []func(context.Context, *view.Tree) (*view.Tree, error)
}

// OpenOptions say how a stored pytree is read.
type OpenOptions struct {
	// Fill makes chunks that are missing chunks of the array's fill value, as the
	// zarr specification has it. Without Fill a missing chunk is damage in a tree of
	// Orbax, because Orbax v1 writes every chunk; in a store of zarr arrays it is
	// filled even then, unless hardly any data is stored. With Fill a document of a
	// few bytes can stand for an array of any size, so set it only for checkpoints
	// that you trust.
	Fill bool
}

// OpenView opens the tree in dir by h, as the options want it. It reads no arrays.
func (o *LoadOptions) OpenView(ctx context.Context, h TreeHandler, dir *ReadDir) (*view.Tree, error) {
	t, err := h.OpenTree(ctx, dir, o.OpenOptions)
	for _, change := range o.Views {
		if err != nil {
			return nil, err
		}
		t, err = change(ctx, t)
	}
	return t, err
}

// Abstract as the target of a load asks for a new tree of the structure, dtypes,
// shapes and shardings of Tree; see tree.BindAbstract. A *view.TreeMetadata
// stands for the tree that it describes.
type Abstract struct{ Tree any }

// LoadTree is the Load of a [TreeHandler]. It opens the tree in dir by h, applies the
// options, and fills target, which tree.Bind must be able to fill, or returns what
// tree.Build makes of the tree, or the tree that an [Abstract] asks for. If the target
// does not fit, the error joins one *orbax.LeafError for each mismatch, and no array
// has been read; a target for another kind of checkpointable, such as a [Stateful] or a
// [JSON], is an error that matches orbax.ErrStructure. Damage matches orbax.ErrCorrupt.
func LoadTree(ctx context.Context, h TreeHandler, dir *ReadDir, target any, opts LoadOptions) (any, error) {
	t, err := opts.OpenView(ctx, h, dir)
	if err == nil {
		err = otherKind(target)
	}
	if err != nil {
		return nil, err
	}
	t = t.Counted(dir.inner().Engine())
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

// TreeMetadata is the Metadata of a [TreeHandler]: a *view.TreeMetadata of the tree that h
// opens.
func TreeMetadata(ctx context.Context, h TreeHandler, dir *ReadDir) (any, error) {
	t, err := h.OpenTree(ctx, dir, OpenOptions{})
	if err != nil {
		return nil, err
	}
	return t.Metadata(), nil
}

// otherKind refuses targets of a load that are for what other handlers save, and could
// otherwise be taken for a pytree of their fields.
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
