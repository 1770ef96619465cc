package orbax

import (
	"context"
	"errors"

	"github.com/go-orbax/orbax/internal/found"
)

// Load reads the checkpoint at path as it was saved: dicts become
// map[string]any, sequences []any, arrays *array.Array, integers of 64 bits
// int. Without Name it loads the checkpointable "state" if there is one, else
// the first pytree.
func Load(ctx context.Context, path string, options ...LoadOption) (any, error) {
	return with(ctx, path, opening(options), func(ck *Checkpoint) (any, error) { return ck.Load(ctx, options...) })
}

// LoadInto reads the checkpoint at path into target, a non-nil pointer or map
// whose structure must match; package tree has the rules. Arrays and slices
// that target has already are filled in place. All mismatches are reported at
// once, before anything is read. After a later error the contents of those
// arrays are unspecified. Arrays that are filled in place keep their own
// sharding; a nil *array.Array takes that of the checkpoint. If the checkpoint is
// overwritten while it is read, the error matches ErrBusy; Load and LoadAs, which
// have no memory to spoil, begin anew instead.
func LoadInto(ctx context.Context, path string, target any, options ...LoadOption) error {
	_, err := once(ctx, path, opening(options), func(ck *Checkpoint) (any, error) { return nil, ck.LoadInto(ctx, target, options...) })
	return err
}

// LoadAs reads the checkpoint at path into a new T; see LoadInto.
func LoadAs[T any](ctx context.Context, path string, options ...LoadOption) (T, error) {
	return with(ctx, path, opening(options), func(ck *Checkpoint) (t T, err error) {
		err = ck.LoadInto(ctx, &t, options...)
		return t, err
	})
}

// LoadAbstract reads what abstract describes into a new tree of the same
// structure: maps, slices and structs whose leaves are array.ShapeDtypeStruct or
// arrays for arrays, values of the type that is wanted for numbers and strings,
// and tree.Placeholder for what is to be left out; see tree.BindAbstract. What
// Metadata returns is such a description too. Nothing of abstract is changed.
func LoadAbstract(ctx context.Context, path string, abstract any, options ...LoadOption) (any, error) {
	return with(ctx, path, opening(options), func(ck *Checkpoint) (any, error) { return ck.LoadAbstract(ctx, abstract, options...) })
}

// LoadCheckpointables reads several checkpointables of the checkpoint at path,
// in parallel. targets names them: nil as a value loads one as it was saved,
// another value is what it is loaded into. nil or empty targets load every
// checkpointable as it was saved, which fails for those that need a target or a
// handler of their own: stateful objects, protocol buffers, and kinds that the
// registry does not know. The result has what was loaded by name.
func LoadCheckpointables(ctx context.Context, path string, targets map[string]any, options ...LoadCheckpointablesOption) (map[string]any, error) {
	load := func(ck *Checkpoint) (map[string]any, error) { return ck.LoadCheckpointables(ctx, targets, options...) }
	for _, target := range targets {
		if target != nil {
			return once(ctx, path, opening(options), load)
		}
	}
	return with(ctx, path, opening(options), load)
}

// Metadata describes the checkpoint at path and one pytree in it, chosen and
// changed by the options as by Load. It reads no array data. A leaf that cannot be
// read, as its document or a chunk of it is missing, is no error: the leaf's metadata
// have its own Err, and CheckpointMetadata.Err has all.
func Metadata(ctx context.Context, path string, options ...LoadOption) (*CheckpointMetadata, error) {
	return with(ctx, path, opening(options), func(ck *Checkpoint) (*CheckpointMetadata, error) { return ck.Metadata(ctx, options...) })
}

// CheckpointablesMetadata describes the checkpoint at path and all its
// checkpointables.
func CheckpointablesMetadata(ctx context.Context, path string, options ...LoadCheckpointablesOption) (*CheckpointMetadata, error) {
	return with(ctx, path, opening(options), func(ck *Checkpoint) (*CheckpointMetadata, error) {
		return ck.CheckpointablesMetadata(ctx, options...)
	})
}

// IsCheckpoint reports whether a complete checkpoint of Orbax is at path. It reads
// the checkpoint's metadata, not its data; Verify reads everything. What is no
// checkpoint, an unfinished one, or a checkpointable, is false without an error. So are safetensors
// files and stores of zarr arrays: Load reads them too, but nothing in them tells
// whether they are complete, or a checkpoint at all. A checkpoint that is damaged,
// or that this version cannot read, is an error, so that it is not taken for
// missing.
func IsCheckpoint(ctx context.Context, path string, options ...OpenOption) (bool, error) {
	ck, err := Open(ctx, path, options...)
	switch {
	case err == nil:
		return !ck.found.IsBare() && ck.found.Item == "", ck.Close()
	case errors.Is(err, ErrNotExist), errors.Is(err, ErrInvalidCheckpoint), errors.Is(err, ErrIncomplete):
		return false, nil
	}
	return false, err
}

// once calls read with the open checkpoint at path.
func once[T any](ctx context.Context, path string, options []OpenOption, read func(*Checkpoint) (T, error)) (T, error) {
	ck, err := Open(ctx, path, options...)
	if err != nil {
		var none T
		return none, err
	}
	defer ck.Close()
	ck.opened.OneCall = true
	return read(ck)
}

// with calls read with the open checkpoint at path, anew if the checkpoint is
// overwritten meanwhile: read must give the same whatever it has done before,
// so it is not for what fills a target of the caller's.
func with[T any](ctx context.Context, path string, options []OpenOption, read func(*Checkpoint) (T, error)) (T, error) {
	for try := 1; ; try++ {
		v, err := once(ctx, path, options, read)
		if !errors.Is(err, found.ErrReplaced) || try == found.MaxTries {
			return v, err
		}
	}
}
