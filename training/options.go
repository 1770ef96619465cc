package training

import (
	"fmt"
	"log/slog"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/save"
	"github.com/go-orbax/orbax/storage"
)

// Options say how a Checkpointer works. The zero value saves as often as it can
// without making the program wait, and keeps everything, as Orbax does.
type Options struct {
	// SaveDecision says which steps are saved. If nil it is, as Orbax's,
	//
	//	AnySavePolicy{InitialSavePolicy{}, ContinuousCheckpointingPolicy{}, PreemptionCheckpointingPolicy{}}
	SaveDecision SaveDecisionPolicy
	// Preservation says which steps are kept; PreserveAll{} if nil.
	Preservation PreservationPolicy
	// Store, if not nil, is the one in which the root is a name; see orbax.In. It is for
	// all that the Checkpointer does.
	Store storage.Store
	// StepNameFormat says how the directories of steps are called;
	// StandardNameFormat{} if nil.
	StepNameFormat NameFormat
	// CustomMetadata is stored in the root when it has none yet; see
	// Checkpointer.RootMetadata. It must encode to a JSON object, as [orbax.CustomMetadata]
	// says.
	CustomMetadata any
	// RunsInside makes New take a root without steps that has other runs in it, such as
	// one of averaged weights that begins before this one has its first step. Without it
	// New takes the root for a directory of runs that is given by mistake.
	RunsInside bool
	// Preempted announces, by being closed or sent to, that the program is about to be
	// ended, for PreemptionCheckpointingPolicy. If it is nil, and the policy is
	// that one or an AnySavePolicy that has it, SIGTERM announces it: from New to Close the
	// program must end by itself after that signal, see Checkpointer.Preempted. Once the
	// Checkpointer has seen the signal, a second one ends the program as usual.
	Preempted <-chan struct{}
	// CleanTemporary makes New remove also the temporary directories that saves of
	// Orbax in Python have left, of steps and of the root's metadata. These hold no
	// lock, so it is not known whether their writer is alive: set it only where no
	// other program saves to the root. Those of writers in Go are removed without
	// it when these are dead, where locks tell: on local disks of Unix systems. It
	// also removes unfinished steps that are committed by marker (Orbax's COMMIT_FILE
	// mode), which lie at their final path. Without it a save of such a step replaces
	// what Resume has found there.
	CleanTemporary bool
	// Sharing is about the bytes that steps share.
	Sharing Sharing
	// Logger reports what is saved, removed, passed over and what fails, unless it is nil.
	Logger *slog.Logger
	// Progress, if not nil, is called while a step is saved; see orbax.Progress. It
	// must not wait for the Checkpointer, as Cancel does; cancel the save's context
	// instead.
	Progress func(step int, s orbax.Stats)
	// SaveOptions are for every save, before those that are given to it.
	SaveOptions []orbax.SaveCheckpointablesOption
	// LoadOptions are for every load and resume, before those that are given to it.
	// Those that say how a target is filled, such as [orbax.Cast], have no place in a
	// load without one. With [orbax.FollowLinks] all steps are opened so: those of a run
	// that its owner has put together of links are listed, and may be loaded.
	// [orbax.Mapped] is refused here and in each load, with orbax.ErrUsage: what is
	// mapped is valid while the step is open, and [Checkpointer.Open] gives it.
	LoadOptions []orbax.LoadCheckpointablesOption
}

// Sharing says which bytes a step shares with the step before instead of being
// written again; see the package's documentation. It concerns arrays in memory that
// are stored in a database, which is the default. Where the store has no links, all
// is written; so it is by a save that replaces a step.
type Sharing struct {
	// Off makes each step be written as a whole.
	Off bool
	// FreshEvery is how many steps in a row have the same bytes at most, before
	// they are written anew; 10 if it is 0, and 1 shares nothing. A byte that rots
	// on the disk is lost for all steps that share it: where all that are kept may
	// be fewer than FreshEvery, as with LatestN{N: 3} alone, that may be every step.
	// Keep some older ones too, with EveryNSteps for instance, or set it below the
	// number that is kept.
	FreshEvery int
	// MaxDead is the part of a shared file, from 0 to 1, that may belong to no leaf
	// of the step any more; what is left of a file with more is written anew. It is
	// 0.5 if it is 0.
	MaxDead float64
}

func (o *Options) setDefaults() {
	if o.SaveDecision == nil {
		o.SaveDecision = AnySavePolicy{InitialSavePolicy{}, ContinuousCheckpointingPolicy{}, PreemptionCheckpointingPolicy{}}
	}
	if o.Preservation == nil {
		o.Preservation = PreserveAll{}
	}
	if o.StepNameFormat == nil {
		o.StepNameFormat = StandardNameFormat{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

func (s Sharing) validate() error {
	if err := notNegative("Sharing", "FreshEvery", s.FreshEvery); err != nil {
		return err
	}
	if !(s.MaxDead >= 0 && s.MaxDead <= 1) {
		return fmt.Errorf("Sharing: MaxDead is %v, which must be between 0 and 1", s.MaxDead)
	}
	return nil
}

// Force saves a step whatever the policy says of it, even one that is older than
// the newest.
func Force() orbax.SaveCheckpointablesOption {
	return stepOption(func(s *save.Step) { s.Force = true })
}

// stepOption is an option that says how a step is saved.
type stepOption func(*save.Step)

func (o stepOption) ApplySave(c *save.Config) { o(&c.Step) }
func (o stepOption) ForCheckpointables()      {}
