package ckdir

import (
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/tree"
)

// Operation is a save as the packages that store items know it, beyond what the author
// of a handler sees of it. A nil *Operation is that of a handler that is used alone.
type Operation struct{ settings Settings }

// Settings are what an [Operation] consists of. Each may be left out.
type Settings struct {
	// Engine takes the snapshots.
	Engine *transfer.Engine
	// Announce is called before anything is copied or written, with the leaves of a pytree
	// and the least number of bytes that will be written. Its error ends the save. It
	// neither changes nor keeps the leaves.
	Announce func(leaves []tree.Leaf, bytes int64) error
	// Unmerged puts the database of a pytree into a directory of its own, as one of
	// several processes of a save does.
	Unmerged bool
	// Reuse returns what the item called name shares with an earlier checkpoint, and
	// nil if it shares nothing and keeps no record for later saves. It is called when the
	// item is written.
	Reuse func(name string) *Reuse
	// Like returns the directory of the item called name in the step before, whose
	// documents keep their names; nil if there is none. It is called when the item is
	// written.
	Like func(name string) *ReadDir
}

// NewOperation returns the save with the given settings.
func NewOperation(s Settings) *Operation { return &Operation{s} }

// Settings returns the settings of the save.
func (o *Operation) Settings() Settings {
	if o == nil {
		return Settings{}
	}
	return o.settings
}
