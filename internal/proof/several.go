package proof

import (
	"fmt"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// ErrSeveral is the error for a directory of trees that has no document at its own root.
// Steps of old managers look like this, and so does a directory in which a user keeps
// several old checkpoints. The name decides: the name of a step ends in a number.
var ErrSeveral = fmt.Errorf("%w: it has no document of its own", fault.ErrInvalidCheckpoint)

// isStep reports whether name is the name of a step of an old manager, with or without a
// prefix. A temporary name counts too, because the store gives it to a directory that was
// examined under its own name before.
func isStep(name string) bool {
	if temporary, _ := storage.IsTemporary(name); temporary {
		return true
	}
	return isNumber(name[strings.LastIndexByte(name, '_')+1:])
}
