package main

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
)

const kindPytree = "pytree"

// contents describes parts of a checkpoint.
type contents struct {
	meta  *orbax.CheckpointMetadata // of the checkpoint
	kinds []string
	trees []*handler.TreeMetadata // nil for what is no pytree
}

// look describes the parts of a checkpoint that have the given names. One that
// was written by a handler that the library does not know is no error.
func look(ctx context.Context, ck *orbax.Checkpoint, names []string) (*contents, error) {
	c := &contents{kinds: make([]string, len(names)), trees: make([]*handler.TreeMetadata, len(names))}
	errs := make([]error, len(names))
	for i, name := range names {
		m, err := ck.Metadata(ctx, orbax.Name(name))
		switch {
		case err == nil:
			c.meta, c.trees[i] = m, m.Tree
		case errors.Is(err, fs.ErrNotExist) && slices.Contains(ck.Names(), name):
			errs[i] = err // unless it is said to be a pytree, it is none
		default:
			return nil, err
		}
	}
	switch {
	case len(names) == 0:
		m, err := ck.CheckpointablesMetadata(ctx)
		return &contents{meta: m}, err
	case c.meta == nil:
		return nil, errors.Join(errs...)
	}
	for i, name := range names {
		c.kinds[i] = kindOfHandler(c.meta.Handlers[name])
		if c.trees[i] != nil {
			c.kinds[i] = kindPytree
		} else if errs[i] != nil && c.kinds[i] == kindPytree {
			return nil, errs[i]
		}
	}
	return c, nil
}

// kindOfHandler makes a word of a handler's recorded type, such as
// "orbax.checkpoint.experimental.v1._src.handlers.json_handler.JsonHandler".
func kindOfHandler(typ string) string {
	class := typ[strings.LastIndexByte(typ, '.')+1:]
	switch class {
	case "":
		return "unknown"
	case "PyTreeHandler", "PyTreeCheckpointHandler", "StandardCheckpointHandler":
		return kindPytree
	case "JsonHandler", "JsonCheckpointHandler":
		return "json"
	case "ProtoHandler", "ProtoCheckpointHandler":
		return "proto"
	case "StatefulCheckpointableHandler":
		return "stateful"
	}
	return class
}
