package main

import (
	"context"
	"strings"

	"github.com/go-orbax/orbax"
)

// look describes a checkpoint with the part called name, or with all of its
// parts if name is "".
func look(ctx context.Context, ck *orbax.Checkpoint, name string) (*orbax.CheckpointMetadata, error) {
	if name != "" {
		return ck.Metadata(ctx, orbax.Name(name))
	}
	return ck.CheckpointablesMetadata(ctx)
}

// kindOfHandler makes a word of the recorded type of a handler that is not for
// pytrees, such as
// "orbax.checkpoint.experimental.v1._src.handlers.json_handler.JsonHandler".
func kindOfHandler(typ string) string {
	class := typ[strings.LastIndexByte(typ, '.')+1:]
	switch class {
	case "":
		return "unknown"
	case "JsonHandler", "JsonCheckpointHandler":
		return "json"
	case "ProtoHandler", "ProtoCheckpointHandler":
		return "proto"
	case "StatefulCheckpointableHandler":
		return "stateful"
	}
	return class
}
