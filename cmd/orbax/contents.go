package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-orbax/orbax"
)

// look describes a checkpoint with the part called name, or with all of its
// parts if name is "". As to the library, one that has none, or lacks a part
// that was written, is damaged.
func look(ctx context.Context, ck *orbax.Checkpoint, path, name string) (*orbax.CheckpointMetadata, error) {
	if name != "" {
		m, err := ck.Metadata(ctx, orbax.Name(name))
		return m, nameHint(lostTree(ctx, ck, path, err, name), ck, name)
	}
	m, err := ck.CheckpointablesMetadata(ctx)
	if err != nil {
		return nil, lostTree(ctx, ck, path, err, ck.Names()...)
	}
	names := ck.Names()
	for _, recorded := range slices.Sorted(maps.Keys(m.Handlers)) {
		if slices.Contains(names, recorded) {
			continue
		}
		// Orbax may record parts that it did not write; the library knows which
		// are missing.
		if _, err := ck.Metadata(ctx, orbax.Name(recorded)); err != nil && damaged(err) {
			return nil, err
		}
	}
	if len(names) == 0 {
		return nil, inCheckpoint(path, fmt.Errorf("%w: no checkpointable is left", orbax.ErrCorrupt))
	}
	return m, nil
}

// lostTree returns err, with which the named parts could not be described. That
// one of them is recorded as a pytree and has no such metadata is no wrong
// question, but damage, and so verify calls it.
func lostTree(ctx context.Context, ck *orbax.Checkpoint, path string, err error, names ...string) error {
	if !errors.Is(err, orbax.ErrStructure) {
		return err
	}
	var errs []error
	for _, name := range names {
		if _, err := ck.Metadata(ctx, orbax.Name(name)); errors.Is(err, orbax.ErrStructure) {
			errs = append(errs, fmt.Errorf("checkpointable %q: %w: missing file %s/_METADATA", name, orbax.ErrCorrupt, name))
		}
	}
	if len(errs) == 0 {
		return err
	}
	return inCheckpoint(path, errors.Join(errs...))
}

// nameHint adds to an error about a part that is not there what parts there are.
func nameHint(err error, ck *orbax.Checkpoint, name string) error {
	names := ck.Names()
	if !errors.Is(err, orbax.ErrNotExist) && !errors.Is(err, orbax.ErrReservedName) || damaged(err) || len(names) == 0 {
		return err
	}
	if near := closest(name, names, 1); len(near) > 0 {
		return withHint(err, "did you mean --name %s?", shown(near[0]))
	}
	return withHint(err, "--name takes one of these: %s", shownList(names))
}

// inCheckpoint says which checkpoint an error of reading belongs to.
func inCheckpoint(path string, err error) error {
	if err == nil {
		return nil
	}
	return &orbax.Error{Op: "load", Path: path, Err: err}
}

const kindJSON = "json"

// kindOfHandler makes a word of the recorded type of a handler that is not for
// pytrees, such as
// "orbax.checkpoint.experimental.v1._src.handlers.json_handler.JsonHandler".
func kindOfHandler(typ string) string {
	class := typ[strings.LastIndexByte(typ, '.')+1:]
	switch class {
	case "":
		return "unknown"
	case "JsonHandler", "JsonCheckpointHandler":
		return kindJSON
	case "ProtoHandler", "ProtoCheckpointHandler":
		return "proto"
	case "StatefulCheckpointableHandler":
		return "stateful"
	}
	return class
}
