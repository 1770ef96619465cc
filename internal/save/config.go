package save

import (
	"context"

	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// Config holds the options of a save.
type Config struct {
	config.Common
	// Store, if not nil, is the store in which paths are names.
	Store storage.Store
	// Name is the checkpointable that Save writes. Named says that an option has set it.
	Name  string
	Named bool
	// Overwrite lets the save replace a checkpoint.
	Overwrite bool
	// Marker writes the checkpoint in its final place and commits it by a file. A save to a
	// store that cannot rename does that always.
	Marker bool
	// Rename says that an option asks for a rename.
	Rename bool
	// Refused, if not nil, says why the requested way to commit does not exist.
	Refused error
	// Custom is the custom metadata.
	Custom any
	// Metrics, if not nil, are saved beside the checkpointables.
	Metrics  any
	Registry *handler.Registry
	Handler  handler.SaveOptions
	Step     Step
	// Op, if not nil, is the operation of Group in which its processes save.
	Op *coord.Op
	// Unmerged puts the database of each pytree into a separate directory, because
	// databases of other writers are put beside it before the checkpoint is complete.
	Unmerged bool
	// Uncovered leaves out the files that mean something only with the checkpoint's
	// digests, because another program writes its documents.
	Uncovered bool
	// Target makes the target of a save to a place. nil makes the target of a whole
	// checkpoint.
	Target func(Place) Target
}

// target returns the target of the save.
func (c *Config) target(ctx context.Context, at Place) Target {
	var t Target
	if c.Target != nil {
		t = c.Target(at)
	} else {
		t = newWhole(at, c)
	}
	if c.Group != nil && c.Group.Size() > 1 {
		return newTogether(ctx, c, at, t)
	}
	return t
}

// Step holds the options of a save that is a step of a run. A training.Checkpointer sets
// it.
type Step struct {
	// Managed says that a Checkpointer makes the save. Force is allowed only there.
	Managed bool
	// Force saves the step even if the policy would not.
	Force bool
	// ReplaceUnfinished is Overwrite, but only for an unfinished checkpoint of a save by
	// marker, and for what an interrupted copy of a checkpoint has left.
	ReplaceUnfinished bool
	// ReplaceDamaged says that the checkpoint at the path is damaged, and that the run
	// has continued from an earlier step. A save by marker cannot keep the checkpoint
	// that it replaces. So it then writes the same files under a temporary name and
	// renames them.
	ReplaceDamaged bool
	// MakeRoom, if not nil, is called when the disk does not have enough room. It frees
	// as much as it can.
	MakeRoom func(ctx context.Context) error
	// Like, if not "", is the path of the step before. JSON documents get the names that
	// they have there.
	Like string
	// Reuse, if not nil, lets pytrees share bytes with the checkpoint at the path Base,
	// unless Base is "". The Reuse of each pytree has its own Base.
	Reuse *ckdir.Reuse
	Base  string
}

// NewConfig returns a [Config] that options have filled. It ignores a nil option, by
// which a program leaves an option out.
func NewConfig[O interface{ ApplySave(*Config) }](options []O) *Config {
	c := &Config{Name: layout.DefaultName}
	for _, o := range options {
		if any(o) != nil {
			o.ApplySave(c)
		}
	}
	return c
}
