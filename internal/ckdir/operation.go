package ckdir

import (
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/tree"
)

// Operation is a save as the packages that store items see it. Authors of handlers see
// less of it. A nil *Operation stands for a handler that is used alone.
type Operation struct{ settings Settings }

// Settings are the fields of an [Operation]. Each may be left out.
type Settings struct {
	// Engine takes the snapshots.
	Engine *transfer.Engine
	// Announce is called before anything is copied or written. Its arguments are the
	// leaves of a pytree and the least number of bytes that will be written. Its error
	// ends the save. It neither changes nor keeps the leaves.
	Announce func(leaves []tree.Leaf, bytes int64) error
	// Unmerged puts the database of a pytree into a separate directory, as each of
	// several processes of one save does.
	Unmerged bool
	// Uncovered says that no digests will cover the files, because another program writes
	// the documents of the checkpoint.
	Uncovered bool
	// Reuse returns the data that the item called name may share with an earlier
	// checkpoint. It returns nil if the item shares nothing and keeps no record for later
	// saves. It is called when the item is written.
	Reuse func(name string) *Reuse
	// Like returns the directory of the item called name in the step before, so that
	// documents keep their names. It returns nil if there is none. It is called when the
	// item is written.
	Like func(name string) *ReadDir
}

// NewOperation returns a save with the given settings.
func NewOperation(s Settings) *Operation { return &Operation{s} }

// Settings returns the settings of the save. Those of a nil *Operation are empty.
func (o *Operation) Settings() Settings {
	if o == nil {
		return Settings{}
	}
	return o.settings
}
