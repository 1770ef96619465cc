package orbax

import (
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/save"
)

// AtomicityMode is how a save makes its checkpoint complete in one step; see [Atomicity].
type AtomicityMode int

const (
	// AtomicRename writes the checkpoint under a temporary name, and renames it when
	// it is complete. It is the default.
	AtomicRename AtomicityMode = iota
	// CommitFile writes the checkpoint in its place, and the file commit_success.txt
	// when all the rest is durable.
	CommitFile
)

// Atomicity says how a save is committed, as AtomicityOptions do in Orbax. With
// [CommitFile] the directory is at its path while it is written: all readers of this
// package refuse it with ErrIncomplete until the file is there that commits it, and so
// does Orbax if its own AtomicityOptions say COMMIT_FILE. Without them Orbax loads such
// a directory as far as it is. Use it where others look for that file, and otherwise the
// default.
//
// A save by CommitFile that is killed leaves an unfinished checkpoint at its path, or an
// empty directory; after any other failure nothing is left, as with [AtomicRename].
// [Overwrite] replaces an unfinished checkpoint or an empty directory. To replace one
// that is complete or damaged is refused with ErrUnsupported: the old one could not stay until the new one
// is complete. [Delete] it first, or save by AtomicRename. The one exception is a damaged
// step of a run that training.Checkpointer.Resume has passed over: a Checkpointer replaces
// it by the files of CommitFile, which it writes under a temporary name and renames, so
// that the damaged step stays until then. A partial save refuses
// CommitFile with ErrUsage, and a store that cannot write in place with ErrUnsupported.
func Atomicity(mode AtomicityMode) SaveCheckpointablesOption {
	return saveOption(func(c *save.Config) {
		c.Marker, c.Refused = mode == CommitFile, nil
		if mode != AtomicRename && mode != CommitFile {
			c.Refused = fmt.Errorf("%w: there is no AtomicityMode %d", fault.ErrUsage, mode)
		}
	})
}
