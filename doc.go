// Package orbax saves and loads checkpoints of machine-learning state, in the on-disk
// format of Google's Orbax Checkpoint v1. Python's Orbax loads the checkpoints of this
// package, and this package those of Orbax.
//
// A state is any Go value: maps, slices and structs of arrays, numbers and strings
// (package tree has the exact rules, package array the arrays).
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
// [SaveAsync] returns as soon as the state has been copied; its response reports later
// whether the checkpoint is complete. [Load] gives nested maps, and [LoadAbstract] the
// shapes and dtypes that the program asks for. [Metadata] describes a checkpoint without
// loading it. [Open] returns a handle for several such calls, and [Checkpoint.Tree] a
// tree whose leaves can be read one by one and in part.
//
// A load is strict. The options [Cast], [PadOrTruncate], [Partial] and [FillMissing]
// allow differences, [Select] chooses the leaves to load, and [Transform] changes them
// during the load. All of Orbax's layouts load, old and new, and so do stores of zarr
// arrays and safetensors files; docs/layouts.md lists them.
//
// A checkpoint can hold several values of different kinds, its checkpointables.
// [SaveCheckpointables] and [LoadCheckpointables] save and load them by name.
//
// # Tied weights
//
// Arrays that are the same memory, under several names, are stored once. A load makes
// separate arrays of them, unless the target of a [LoadInto] ties them. A program that
// resumes therefore ties them before it loads, as it did at first.
//
// # Speed
//
// A save writes large arrays straight from their memory, past the page cache. A load
// reads straight into the arrays of its target, so LoadInto into arrays that a program
// already has takes a fraction of the time of Load. [Mapped] loads copy nothing.
// SaveAsync copies the state first: pass [ReuseSnapshot] with a [SnapshotMemory], or
// freeze arrays that do not change. [Budget] bounds the memory for buffers, [Storage]
// chooses the compression, and [Report] and [Progress] report the work that was done.
//
// # Promises
//
// At every instant a path holds nothing, or a complete checkpoint, or, while it is being
// overwritten, the complete old one. (With Atomicity(CommitFile) it may also hold an
// unfinished one, which every function refuses.) A checksum covers every saved byte. A
// load that finds a difference fails with [ErrCorrupt] and names the damaged part: the
// leaf, or the document or tree node that many leaves share. Everything that can be
// refused early, such as a leaf that cannot be stored, is refused before anything is
// written.
//
// All functions may be called by several goroutines at the same time. Their errors have
// the type *[Error], and match the sentinels of this package with errors.Is, or those of
// the file system and of a context that has ended. There are two exceptions. The methods
// of a view.Tree return no *Error, because a tree does not know its checkpoint.
// [AsyncResponse.Result] returns the error of its context if that ends first.
package orbax
