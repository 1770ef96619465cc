package layout

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"github.com/go-orbax/orbax/storage"
)

// HandlerPrefix begins the recorded types of Orbax's own handlers.
const HandlerPrefix = "orbax.checkpoint.experimental.v1._src.handlers."

// These are the recorded types of the handlers of documents, and of objects that write
// their own directory. The old ones are the classes of Orbax v0 that wrote such
// documents.
const (
	ProtoHandler    = HandlerPrefix + "proto_handler.ProtoHandler"
	OldProtoHandler = "ProtoCheckpointHandler"
	OldJSONHandler  = "JsonCheckpointHandler"
	JSONHandler     = HandlerPrefix + "json_handler.JsonHandler"
	StatefulHandler = HandlerPrefix + "stateful_checkpointable_handler.StatefulCheckpointableHandler"
)

// These are the classes of Orbax v0 that save the state of random generators, as a pytree
// in its own directory.
const (
	JAXRandomKey   = "JaxRandomKeyCheckpointHandler"
	NumPyRandomKey = "NumpyRandomKeyCheckpointHandler"
)

// JSONFiles are the file names that Orbax's handlers use for a JSON document.
var JSONFiles = []string{"data.json", "metadata"}

// HandlerClass returns the name of the class in a recorded type.
func HandlerClass(typ string) string { return typ[strings.LastIndexByte(typ, '.')+1:] }

// IsRandomKeyType reports whether a recorded type is that of a handler of random
// generators in Orbax v0.
func IsRandomKeyType(typ string) bool {
	name := HandlerClass(typ)
	return name == JAXRandomKey || name == NumPyRandomKey
}

// TypeByFiles returns the type of the handler that can load the item in a
// directory, for an item without a recorded type. It returns "" for a pytree, and if the files
// do not show the type.
func TypeByFiles(ctx context.Context, at storage.Location) (string, error) {
	for _, name := range JSONFiles {
		_, err := at.Join(name).Stat(ctx)
		if err == nil {
			return JSONHandler, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", nil
}
