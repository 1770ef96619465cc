package orbax

import (
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/save"
)

// AtomicityMode is the way in which a save publishes its checkpoint; see [Atomicity].
type AtomicityMode int

const (
	// AtomicRename writes the checkpoint under a temporary name and renames it when it is
	// complete. It is the default where the store can rename.
	AtomicRename AtomicityMode = iota
	// CommitFile writes the checkpoint at its path, and last the file commit_success.txt,
	// when everything else is durable. It is the default, and the only way, in a store that
	// cannot rename, such as an object store.
	CommitFile
)

// Atomicity chooses how a save is committed, like AtomicityOptions of Orbax. With
// [CommitFile] the directory is at its path while it is written. Until it has its commit
// file, all readers of this package refuse it with [ErrIncomplete]; in the moment before
// its first file is there, they refuse it like any empty directory, with
// [ErrInvalidCheckpoint]. Orbax refuses it too if its own AtomicityOptions say COMMIT_FILE;
// without them it loads the unfinished directory. Use CommitFile if other programs look
// for that file, and otherwise the default.
//
// In a store that cannot rename, every save is one by CommitFile, without this option. A
// directory there that lacks the commit file is no checkpoint: all functions refuse it with
// [ErrIncomplete], even if a program has copied a complete checkpoint there without it.
//
// A save by CommitFile that is killed leaves an unfinished checkpoint at its path, or an
// empty directory. After any other failure nothing is left, as with [AtomicRename].
//
// With CommitFile, [Overwrite] on a disk replaces only an unfinished checkpoint or an empty
// directory. A complete or damaged checkpoint is refused with [ErrUnsupported], because
// it could not stay until the new one is complete: [Delete] it first, or save by
// AtomicRename. There is one exception: a damaged step of a run that
// training.Checkpointer.Resume has passed over. To replace it, a Checkpointer writes the
// files of CommitFile under a temporary name and renames them, so the damaged step stays
// until then.
//
// In a store that cannot rename, Overwrite replaces any checkpoint. The old one stays
// readable until everything of the new one is there but the documents whose names both
// have. For the moment in which these are exchanged the path is incomplete. If the process
// dies in it, the next save to the path, or Repair, finishes the exchange.
//
// A partial save refuses CommitFile with [ErrUsage]. A store that cannot write a
// directory at its path refuses it with [ErrUnsupported], and a store that cannot rename
// refuses AtomicRename with the same error.
func Atomicity(mode AtomicityMode) SaveCheckpointablesOption {
	return saveOption(func(c *save.Config) {
		c.Marker, c.Rename, c.Refused = mode == CommitFile, mode == AtomicRename, nil
		if mode != AtomicRename && mode != CommitFile {
			c.Refused = fmt.Errorf("%w: there is no AtomicityMode %d", fault.ErrUsage, mode)
		}
	})
}
