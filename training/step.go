package training

import (
	"time"

	"github.com/go-orbax/orbax"
)

// Step describes a step of a run in a listing.
type Step struct {
	Step int
	Path string
	// Time is the time at which the step was complete. If the checkpoint does not record
	// it, Time is the last change of its directory, or zero if the store does not know
	// that.
	Time time.Time
	// Metrics is any JSON value, with numbers as int, uint64, *big.Int or float64, as in
	// [orbax.CheckpointMetadata]; nil if there are none. The metrics of all steps are
	// kept in memory, because a policy may ask for them. If there is no room for those of
	// a step, its Err matches [orbax.ErrNoMemory].
	Metrics any
	// InMirror says that Path is in [Mirror.Root], because the root of the run does not
	// have the step, or only a damaged one.
	InMirror bool
	// Err says that the step is known to be damaged: its documents are, or loading it has
	// failed. Such a step stays in the list. Policies neither see nor remove it.
	Err error
}

// CheckpointMetadata describes a step: the result of [orbax.Metadata], and the step.
type CheckpointMetadata struct {
	*orbax.CheckpointMetadata
	Step int
	Time time.Time // see Step
}

// Ignored is an entry of the root that does not count as a step, and the reason. It is
// left alone.
type Ignored struct {
	Path string
	Err  error
}
