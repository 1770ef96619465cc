package orbax

import (
	"context"
)

// Load reads the checkpoint at path as it was saved: dicts become
// map[string]any, sequences []any, arrays *array.Array, integers of 64 bits
// int. Without Name it loads the checkpointable "state" if there is one, else
// the first pytree.
func Load(ctx context.Context, path string, options ...LoadOption) (any, error) {
	ck, err := Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer ck.Close()
	return ck.Load(ctx, options...)
}

// LoadInto reads the checkpoint at path into target, a non-nil pointer or map
// whose structure must match; package tree has the rules. Arrays and slices
// that target has already are filled in place. All mismatches are reported at
// once, before anything is read. After a later error the contents of those
// arrays are unspecified.
func LoadInto(ctx context.Context, path string, target any, options ...LoadOption) error {
	ck, err := Open(ctx, path)
	if err != nil {
		return err
	}
	defer ck.Close()
	return ck.LoadInto(ctx, target, options...)
}

// LoadAs reads the checkpoint at path into a new T; see LoadInto.
func LoadAs[T any](ctx context.Context, path string, options ...LoadOption) (T, error) {
	var t T
	err := LoadInto(ctx, path, &t, options...)
	return t, err
}

// LoadCheckpointables reads several parts of the checkpoint at path, in
// parallel. targets names the parts: nil as a value loads the part as it was
// saved, another value is what the part is loaded into. nil or empty targets
// load every part as it was saved, which fails for stateful objects and
// protocol buffers. The result has the loaded parts by name.
func LoadCheckpointables(ctx context.Context, path string, targets map[string]any, options ...LoadCheckpointablesOption) (map[string]any, error) {
	ck, err := Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer ck.Close()
	return ck.LoadCheckpointables(ctx, targets, options...)
}

// Metadata describes the checkpoint at path and one pytree in it, chosen as by
// Load. It reads no array data.
func Metadata(ctx context.Context, path string, options ...LoadOption) (*CheckpointMetadata, error) {
	ck, err := Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer ck.Close()
	return ck.Metadata(ctx, options...)
}

// CheckpointablesMetadata describes the checkpoint at path and all its parts.
func CheckpointablesMetadata(ctx context.Context, path string, options ...LoadCheckpointablesOption) (*CheckpointMetadata, error) {
	ck, err := Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer ck.Close()
	return ck.CheckpointablesMetadata(ctx, options...)
}

// IsCheckpoint reports whether a complete checkpoint is at path. It reads the
// checkpoint's metadata, not its parts; Verify reads everything. What is no
// checkpoint, or an unfinished one, is false without an error. A checkpoint
// whose metadata is damaged is an error, so that nobody takes it for missing.
func IsCheckpoint(ctx context.Context, path string) (bool, error) {
	ck, err := Open(ctx, path)
	switch {
	case err == nil:
		return true, ck.Close()
	case isAny(err, ErrNotExist, ErrInvalidCheckpoint, ErrIncomplete, ErrUnsupported):
		return false, nil
	}
	return false, err
}
