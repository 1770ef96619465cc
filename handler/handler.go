// Package handler saves and loads checkpointables, the named things that a checkpoint
// consists of: pytrees, JSON documents, protocol buffers, and objects that write their
// own directory. Each checkpointable has its own directory in the checkpoint, and a
// [Handler] that decides what is in that directory.
//
// Package orbax chooses the handler through a [Registry]: by the checkpointable's name if
// a handler is bound to that name, else by the value's type. A program adds a handler for
// its own type like this:
//
//	var r handler.Registry
//	r.Add(TokenizerHandler{})
//	err := orbax.SaveCheckpointables(ctx, path, items, orbax.Handlers(&r))
//
// Such a handler writes files to a [WriteDir] and reads them from a [ReadDir]. A handler
// that stores a tree of leaves can implement [TreeHandler]; everything that package orbax
// does with pytrees then works with its checkpointables too. To change what is saved or
// loaded as a pytree, embed [PyTreeHandler] in your handler.
package handler

import (
	"context"

	"github.com/go-orbax/orbax/tree"
)

// Handler saves and loads one kind of checkpointable. Several goroutines may call its
// methods.
type Handler interface {
	// Type returns the name that the checkpoint records for the handler. A load finds the
	// handler by this name. Orbax for Python takes a checkpointable with an unknown name
	// for a pytree.
	Type() string
	// CanSave reports whether the handler saves values like v.
	CanSave(v any) bool
	// Save checks v and returns the function that writes it. Everything that can be
	// refused must be refused here, not by the function. If opts.Snapshot is set, the
	// caller may change v while the returned function runs, so the function must not read
	// v.
	Save(ctx context.Context, v any, opts SaveOptions) (WriteFunc, error)
	// CanLoad reports whether the handler loads into targets like target. target is not
	// nil.
	CanLoad(target any) bool
	// Load reads the checkpointable that Save wrote. It fills target and returns it. If
	// target is nil, it returns a new value.
	Load(ctx context.Context, dir *ReadDir, target any, opts LoadOptions) (any, error)
	// Metadata describes the stored checkpointable without reading the bulk of it. It
	// returns nil if there is nothing to describe.
	Metadata(ctx context.Context, dir *ReadDir) (any, error)
}

// PerProcess is a [Handler] whose checkpointables differ between the processes of a save.
// If several processes save together, each calls its [WriteFunc] and writes files with
// names of its own. The WriteFunc of any other handler is called in the process with rank
// 0 alone, except that of pytrees, which the processes divide.
type PerProcess interface {
	Handler
	// PerProcess does nothing.
	PerProcess()
}

// WriteFunc writes a checkpointable into its directory, which is empty at first. A save
// calls it at most once, and the call ends before the save does.
type WriteFunc func(ctx context.Context, dir *WriteDir) error

// SaveOptions are the settings of a save that concern its handlers.
type SaveOptions struct {
	// Snapshot makes Save copy all it needs of the value before it returns.
	Snapshot bool
	// Immutable promises that the arrays of pytrees do not change while they are saved. A
	// Snapshot then copies no arrays.
	Immutable bool
	// SnapshotMemory, if set, is the memory to which a Snapshot copies arrays.
	SnapshotMemory *SnapshotMemory
	// Storage says how the arrays of pytrees are stored.
	Storage StorageOptions
	// Adapters make leaves of the tensors of other packages.
	Adapters []tree.Adapter
	// Operation is the save that these options belong to. A handler that calls another
	// handler passes Operation on with the other options. nil stands for a save of its
	// own.
	Operation *Operation
}
