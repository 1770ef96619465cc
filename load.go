package orbax

import (
	"context"
	"errors"

	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/found"
)

// Load reads the checkpoint at path as it was saved. Dicts become map[string]any,
// sequences []any, arrays *array.Array, and integers of 64 bits int. Without [Name] it
// loads the checkpointable "state" if there is one, else the first pytree. Arrays are whole,
// also with the option multihost.Together.
func Load(ctx context.Context, path string, options ...LoadOption) (any, error) {
	return with(ctx, path, openingFor(path, options), func(ck *Checkpoint) (any, error) { return ck.Load(ctx, options...) })
}

// LoadInto reads the checkpoint at path into target, a non-nil pointer or map whose
// structure must match. [tree.Bind] has the rules. Arrays and slices that target already
// has are filled in place. LoadInto reports all mismatches at once, before it reads
// anything. After a later error the contents of those arrays are unspecified. Arrays that
// are filled in place keep their own sharding; a nil *array.Array takes that of the
// checkpoint.
//
// An *array.Sharded of target gets the elements of its shards. LoadInto reads the stored
// chunks that overlap a shard, each once, and no others. The array may have been saved with
// another sharding, or with none. A nil *array.Sharded is an error, because it does not say
// which shards it has.
//
// If the checkpoint is overwritten while it is read, the error matches [ErrBusy]. [Load]
// and [LoadAs], which fill no memory of the caller, start again instead.
func LoadInto(ctx context.Context, path string, target any, options ...LoadOption) error {
	_, err := once(ctx, path, openingFor(path, options), func(ck *Checkpoint) (any, error) { return nil, ck.LoadInto(ctx, target, options...) })
	return err
}

// LoadAs reads the checkpoint at path into a new T; see [LoadInto].
func LoadAs[T any](ctx context.Context, path string, options ...LoadOption) (T, error) {
	return with(ctx, path, openingFor(path, options), func(ck *Checkpoint) (t T, err error) {
		err = ck.LoadInto(ctx, &t, options...)
		return t, err
	})
}

// LoadAbstract reads the leaves that abstract describes into a new tree of the same
// structure. abstract consists of maps, slices and structs. Its leaves are
// array.ShapeDtypeStruct or arrays for arrays, values of the wanted type for numbers and
// strings, and tree.Placeholder for leaves that are left out; see tree.BindAbstract. The
// result of [Metadata] is such a description too. LoadAbstract does not change abstract.
//
// With the option multihost.Together each array of abstract that has a sharding becomes an
// *array.Sharded with the shards of this process. LoadAbstract takes memory for these shards
// and no others, and reads as little as [LoadInto]. Other arrays are loaded whole. The shardings in the result of
// [Metadata] are those of the save: an array that was on one device then belongs to process
// 0. If the devices of a sharding do not belong to the processes of the group, the error
// names the leaf and matches [ErrStructure].
func LoadAbstract(ctx context.Context, path string, abstract any, options ...LoadOption) (any, error) {
	return with(ctx, path, openingFor(path, options), func(ck *Checkpoint) (any, error) { return ck.LoadAbstract(ctx, abstract, options...) })
}

// LoadCheckpointables reads several checkpointables of the checkpoint at path, in
// parallel. targets names them. A nil value loads the checkpointable as it was saved; any
// other value is the target that it is loaded into. If targets is nil or empty, every
// checkpointable is loaded as it was saved. That fails for checkpointables that need a
// target or a special handler: stateful objects, protocol buffers, and kinds that the
// registry does not know. The result has the loaded values by name.
func LoadCheckpointables(ctx context.Context, path string, targets map[string]any, options ...LoadCheckpointablesOption) (map[string]any, error) {
	load := func(ck *Checkpoint) (map[string]any, error) { return ck.LoadCheckpointables(ctx, targets, options...) }
	for _, target := range targets {
		if target != nil {
			return once(ctx, path, openingFor(path, options), load)
		}
	}
	return with(ctx, path, openingFor(path, options), load)
}

// Metadata describes the checkpoint at path and one pytree in it. The options choose and
// change the pytree as for [Load]. Metadata reads no array data. A leaf that cannot be
// read, because its document or a chunk of it is missing, is not an error: the leaf's
// metadata have their own Err, and [CheckpointMetadata.Err] joins all of these.
func Metadata(ctx context.Context, path string, options ...LoadOption) (*CheckpointMetadata, error) {
	return with(ctx, path, opening(options), func(ck *Checkpoint) (*CheckpointMetadata, error) { return ck.Metadata(ctx, options...) })
}

// CheckpointablesMetadata describes the checkpoint at path and all its checkpointables.
func CheckpointablesMetadata(ctx context.Context, path string, options ...LoadCheckpointablesOption) (*CheckpointMetadata, error) {
	return with(ctx, path, opening(options), func(ck *Checkpoint) (*CheckpointMetadata, error) {
		return ck.CheckpointablesMetadata(ctx, options...)
	})
}

// IsCheckpoint reports whether a complete checkpoint of Orbax is at path. It reads the
// checkpoint's metadata and not its data; [Verify] reads everything.
//
// It returns false without an error for an unfinished checkpoint, for a checkpointable,
// and for anything that is not a checkpoint. That includes safetensors files and stores
// of zarr arrays: [Load] reads them too, but nothing in them shows whether they are
// complete, or a checkpoint at all. A checkpoint that is damaged, or that this version
// cannot read, is an error, so that it does not pass for missing.
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
		if unopened := config.NewOpen(options).Unopened; unopened != nil {
			err = unopened(ctx, err)
		}
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
