package save

import (
	"context"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// Config is what the options of a save fill.
type Config struct {
	config.Common
	// Store, if not nil, is the one in which paths are names.
	Store storage.Store
	// Name is the checkpointable that Save writes, and Named whether an option says so.
	Name  string
	Named bool
	// Overwrite lets the save replace a checkpoint.
	Overwrite bool
	// Marker commits the save by a file, in the checkpoint's place.
	Marker bool
	// Refused is why the way to commit that was asked for does not exist, or nil.
	Refused error
	// Custom is the custom metadata.
	Custom any
	// Metrics, if not nil, are saved beside the checkpointables.
	Metrics  any
	Registry *handler.Registry
	Handler  handler.SaveOptions
	Step     Step
	// Unmerged gives the database of each pytree a directory of its own, as others are put
	// beside it before the checkpoint is complete.
	Unmerged bool
	// Target makes the target of the save of a checkpoint that is to be at a place; nil is
	// that of the whole checkpoint.
	Target func(Place) Target
}

// target returns where the save goes.
func (c *Config) target(at Place) Target {
	if c.Target != nil {
		return c.Target(at)
	}
	return newWhole(at, c)
}

// Step makes of a save that of a step of a run. A training.Checkpointer sets it.
type Step struct {
	// Managed says that a Checkpointer makes the save: Force has a meaning only there.
	Managed bool
	// Force saves the step whatever the policy says of it.
	Force bool
	// ReplaceUnfinished is Overwrite of what a save by marker has left unfinished, and
	// of nothing else.
	ReplaceUnfinished bool
	// ReplaceDamaged says that what is at the path is damaged, and that the run has gone
	// on from before it. A save by marker, which cannot keep what it replaces, then writes
	// the same files under a temporary name and renames them.
	ReplaceDamaged bool
	// MakeRoom, if not nil, is called when the disk has not room enough. It frees
	// what it can.
	MakeRoom func(ctx context.Context) error
	// Like, if not "", is the path of the step before: JSON documents are called as
	// there.
	Like string
	// Reuse, if not nil, lets pytrees share bytes with the checkpoint at the path Base, if
	// that is not "". Each pytree has the Base of its own Reuse set.
	Reuse *ckdir.Reuse
	Base  string
}

// NewConfig returns what options of a save fill. A nil among them is one that the
// program leaves out.
func NewConfig[O interface{ ApplySave(*Config) }](options []O) *Config {
	c := &Config{Name: layout.DefaultName}
	for _, o := range options {
		if any(o) != nil {
			o.ApplySave(c)
		}
	}
	return c
}
