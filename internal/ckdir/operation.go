package ckdir

import (
	"context"
	"iter"

	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
)

// Operation is a save as the packages that store items see it. Authors of handlers see
// less of it. A nil *Operation stands for a handler that is used alone.
type Operation struct{ settings Settings }

// Settings are the fields of an [Operation]. Each may be left out.
type Settings struct {
	// Engine takes the snapshots.
	Engine *transfer.Engine
	// Announce is called with the plan of a pytree before anything is copied or written.
	// Its error ends the save.
	Announce func(Announced) error
	// Process says which part of a pytree this process writes. Size is 0 or 1 if no other
	// process takes part.
	Process sharding.Process
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

// Alone reports whether one process makes the save.
func (s *Settings) Alone() bool { return s.Process.Size <= 1 }

// Announced is the plan of the save of a pytree.
type Announced struct {
	// Leaves are the leaves, for Announce only, which neither changes nor keeps them.
	Leaves []tree.Leaf
	// Bytes is the least number of bytes that all processes together will write.
	Bytes int64
	// Lines yields each leaf and how it will be stored. If several processes save
	// together, they must have the same lines.
	Lines iter.Seq2[string, string]
	// Sample returns what this process can choose for all, one byte for each choice, by
	// samples of the data that it writes. 0 leaves a choice to another process.
	Sample func(ctx context.Context) ([]byte, error)
	// Choose sets the choices of all processes. It is called before anything is written.
	Choose func([]byte) error
	// Merge makes one pytree of the parts that several processes have written. from and to
	// are the directory of the pytree. It is called by the process with rank 0.
	Merge func(ctx context.Context, from *ReadDir, to *WriteDir) error
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
