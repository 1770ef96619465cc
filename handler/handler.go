// Package handler saves and loads the kinds of things that a checkpoint is made
// of, its checkpointables: pytrees, JSON documents, protocol buffers, and
// objects that write their own directory. Each has a directory of its own in
// the checkpoint, and a Handler that owns what is in it.
//
// Package orbax picks the handler through a Registry: by the checkpointable's
// name if one is bound to it, else by the value's type. A handler for a type of
// one's own is added like this:
//
//	var r handler.Registry
//	r.Add(TokenizerHandler{})
//	err := orbax.SaveCheckpointables(ctx, path, items, orbax.Handlers(&r))
//
// A handler of one's own writes files to a [WriteDir] and reads them from a [ReadDir]. If
// what it stores is a tree of leaves it is a [TreeHandler], and all that package orbax does
// with pytrees works with it; to change what is saved or loaded as a pytree, embed
// [PyTreeHandler] in it.
package handler

import (
	"context"

	"github.com/go-orbax/orbax/tree"
)

// Handler saves and loads one kind of checkpointable. Its methods may be called
// by several goroutines.
type Handler interface {
	// Type is the name that the checkpoint records for the handler, and by
	// which it is found again on loading. Orbax takes a name that it does not
	// know for a pytree's.
	Type() string
	// CanSave reports whether the handler saves values like v.
	CanSave(v any) bool
	// Save checks v and returns what writes it. Everything that can be
	// refused is refused here. If opts.Snapshot is set the returned function
	// runs while the caller goes on to change v, and must not look at it.
	Save(ctx context.Context, v any, opts SaveOptions) (WriteFunc, error)
	// CanLoad reports whether the handler loads into targets like target,
	// which is not nil.
	CanLoad(target any) bool
	// Load reads what Save wrote: into target, or, if target is nil, into a
	// new value. It returns target or the new value.
	Load(ctx context.Context, dir *ReadDir, target any, opts LoadOptions) (any, error)
	// Metadata describes what is stored, without reading the bulk of it; nil
	// if there is nothing to say.
	Metadata(ctx context.Context, dir *ReadDir) (any, error)
}

// WriteFunc writes a checkpointable into its directory, which is empty. It is
// called at most once, before the save ends.
type WriteFunc func(ctx context.Context, dir *WriteDir) error

// SaveOptions are the parts of a save that concern its handlers.
type SaveOptions struct {
	// Snapshot makes Save copy what it needs of the value.
	Snapshot bool
	// Immutable says that the arrays of pytrees do not change while they are
	// saved: a Snapshot copies none.
	Immutable bool
	// SnapshotMemory, if set, is what a Snapshot copies arrays to.
	SnapshotMemory *SnapshotMemory
	// Storage says how the arrays of pytrees are stored.
	Storage StorageOptions
	// Adapters bring in tensors of other packages as leaves.
	Adapters []tree.Adapter
	// Operation is the save that the options are for. A handler that calls another
	// passes it on with the other options; nil is a save of its own.
	Operation *Operation
}
