// Package orbax saves and loads checkpoints of machine-learning state, in the
// on-disk format of Google's Orbax Checkpoint v1: what this package saves,
// Python's Orbax loads, and the reverse.
//
// A state is any Go value: maps, slices and structs of arrays, numbers and
// strings (package tree has the exact rules, package array the arrays).
//
//	type State struct {
//		Params map[string]*array.Array `orbax:"params"`
//		Step   int                     `orbax:"step"`
//	}
//
//	err := orbax.Save(ctx, "/ckpt/step_100", state)
//	...
//	state, err := orbax.LoadAs[State](ctx, "/ckpt/step_100")
//
// SaveAsync returns as soon as the state has been copied; its response tells
// later whether the checkpoint is complete. Load without a target gives nested
// maps, LoadAbstract the shapes and dtypes that one asks for. Metadata tells what
// is in a checkpoint without loading it. Open returns a handle for several such
// calls, and Checkpoint.Tree what can be read leaf by leaf and in part.
//
// A load is strict. The options Cast, PadOrTruncate, Partial and FillMissing say
// what may differ, Select what is loaded, and Transform how it is changed on the
// way. All of Orbax's layouts load, old and new, and so do stores of zarr arrays
// and safetensors files; docs/layouts.md lists them.
//
// A checkpoint can hold several things of different kinds, its checkpointables:
// SaveCheckpointables and LoadCheckpointables save and load them by name.
//
// # Tied weights
//
// Arrays that are the same memory, under several names, are stored once. They are
// loaded as arrays of their own, unless the target of a LoadInto ties them: so a
// program that resumes ties them before it loads, as it did at first.
//
// # Speed
//
// A save writes large arrays from where they lie, past the page cache; a load
// reads straight into the arrays of its target, so LoadInto into arrays that a
// program has already takes a fraction of the time of Load. Mapped loads read
// nothing. SaveAsync copies the state first: give it a SnapshotMemory with
// ReuseSnapshot, or freeze what does not change. Budget bounds the memory for
// buffers, Storage chooses compression, Report and Progress tell what was done.
//
// # Promises
//
// At every instant a path holds nothing, or a complete checkpoint, or, while it
// is being overwritten, the complete old one. (With Atomicity(CommitFile) it may hold
// an unfinished one too, which every function refuses.) Every byte that is saved is
// covered by a checksum; a load that finds a difference fails with ErrCorrupt
// and names what is damaged: the leaf, or the document or tree node that many
// leaves share. What can be refused, a leaf that cannot be stored for
// example, is refused before anything is written.
//
// All functions may be called by several goroutines at the same time. Their errors
// have the type *[Error], and match the sentinels of this package with errors.Is, or
// those of the file system and of a context that has ended. There are two exceptions.
// The methods of a view.Tree return no *Error, because a tree does not know its
// checkpoint. [AsyncResponse.Result] returns the error of its context if that ends
// first.
package orbax
