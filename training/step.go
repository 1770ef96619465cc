package training

import (
	"time"

	"github.com/go-orbax/orbax"
)

// Step is a step of a run, as a listing describes it.
type Step struct {
	Step int
	Path string
	// Time is when the step was complete; of a checkpoint that does not say so,
	// when its directory was last changed.
	Time time.Time
	// Metrics are any JSON value, with numbers as int, uint64, *big.Int or float64, as in
	// [orbax.CheckpointMetadata]; nil if there are none. Those of all steps are kept in memory, as a policy may ask for them; a step
	// whose metrics find no room has an Err that matches orbax.ErrNoMemory.
	Metrics any
	// Err says that the step is damaged, as far as that is known: that its
	// documents are, or that loading it has failed. It stays in the list, is never
	// removed by a policy, and does not count for one.
	Err error
}

// CheckpointMetadata describes a step: what orbax.Metadata returns, and the step.
type CheckpointMetadata struct {
	*orbax.CheckpointMetadata
	Step int
	Time time.Time // see Step
}

// Ignored is an entry of the root that is not taken for a step, and why. It is
// left alone.
type Ignored struct {
	Path string
	Err  error
}
