package proof

import (
	"fmt"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// ErrSeveral is the error for a directory of trees that has no document at its own root.
// Old managers wrote such steps, and whoever keeps several old checkpoints in one
// directory has the same. The name decides: that of a step ends in a number.
var ErrSeveral = fmt.Errorf("%w: it has no document of its own", fault.ErrInvalidCheckpoint)

// isStep reports whether name is that of a step of an old manager, with or without a
// prefix. A temporary name counts as one: the store gives it to what was looked at under
// its own name before.
func isStep(name string) bool {
	if temporary, _ := storage.IsTemporary(name); temporary {
		return true
	}
	return isNumber(name[strings.LastIndexByte(name, '_')+1:])
}
