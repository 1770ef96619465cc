package main

import (
	"context"
	"errors"
	"strings"

	"github.com/go-orbax/orbax"
)

// look describes a checkpoint with the part called name, or with all of its
// parts if name is "".
func look(ctx context.Context, ck *orbax.Checkpoint, name string) (*orbax.CheckpointMetadata, error) {
	if name == "" {
		return ck.CheckpointablesMetadata(ctx)
	}
	m, err := ck.Metadata(ctx, orbax.Name(name))
	return m, nameHint(err, ck, name)
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
