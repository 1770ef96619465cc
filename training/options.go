package training

import (
	"fmt"
	"log/slog"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/save"
	"github.com/go-orbax/orbax/storage"
)

// Options configures a [Checkpointer]. The zero value saves as often as it can without
// making the program wait, and keeps everything, as Orbax does.
type Options struct {
	// SaveDecision decides which steps are saved. If it is nil the policy is, as in
	// Orbax,
	//
	//	AnySavePolicy{InitialSavePolicy{}, ContinuousCheckpointingPolicy{}, PreemptionCheckpointingPolicy{}}
	SaveDecision SaveDecisionPolicy
	// Preservation decides which steps are kept; nil means PreserveAll{}.
	Preservation PreservationPolicy
	// Store, if not nil, is the store in which root is a name; see [orbax.In]. The
	// Checkpointer uses it for everything.
	Store storage.Store
	// Together, if not nil, is a multihost.Together. If that has a group, it makes a run of
	// several processes; see the package documentation. It is an option of every save and
	// load of the run, and saves refuse it as an option of their own. In a group the
	// policies, the Preservation and the CustomMetadata of rank 0 count. [New] refuses
	// every other option.
	Together orbax.CommonOption
	// StepNameFormat is the format of the names of steps' directories; nil means
	// StandardNameFormat{}.
	StepNameFormat NameFormat
	// CustomMetadata is saved in the root if the root has none yet; see
	// [Checkpointer.RootMetadata]. It must encode to a JSON object; see
	// [orbax.CustomMetadata].
	CustomMetadata any
	// RunsInside makes [New] accept a root without steps that contains other runs, for
	// example a run of averaged weights that begins before this one has its first step.
	// Without it New refuses such a root, because it may be a directory of runs that was
	// passed by mistake.
	RunsInside bool
	// Preempted announces that the program is about to be ended, for
	// [PreemptionCheckpointingPolicy]: the program closes the channel or sends to it.
	//
	// If Preempted is nil, and the policy is that one or an [AnySavePolicy] that contains
	// it, SIGTERM announces it. From [New] to Close the program must then end by itself
	// after that signal; see [Checkpointer.Preempted]. Another SIGTERM that comes a second
	// or more after the first ends the program as usual. In a group a notice to one process
	// counts for all.
	Preempted <-chan struct{}
	// CleanTemporary makes [New] also remove the temporary directories, of steps and of
	// the root's metadata, that saves of Orbax in Python have left. These hold no lock,
	// so it is not known whether their writer is alive: set CleanTemporary only if no
	// other program saves to the root. It also removes unfinished steps that are
	// committed by marker (Orbax's COMMIT_FILE mode), which lie at their final path.
	// Without it a save of such a step replaces it if Resume has found it.
	//
	// New always removes the directories of dead writers in Go, if locks show that they
	// are dead, which they do on local disks of Unix systems.
	CleanTemporary bool
	// Mirror, if it has a Root, is a second root to which finished steps are copied.
	Mirror Mirror
	// Sharing configures the bytes that steps share.
	Sharing Sharing
	// Logger, unless it is nil, reports steps that are saved, removed or skipped, and
	// failures.
	Logger *slog.Logger
	// Progress, if not nil, is called while a step is saved; see [orbax.Progress]. It
	// must not wait for the Checkpointer, as Cancel does; cancel the save's context
	// instead.
	Progress func(step int, s orbax.Stats)
	// SaveOptions are options for every save. The options of the save itself come after
	// them.
	SaveOptions []orbax.SaveCheckpointablesOption
	// LoadOptions are options for every load and resume, and for the metadata of a step.
	// The options of the call itself come after them. Options about filling a target, such
	// as [orbax.Cast], do not affect a load without a target, and [orbax.Progress] and
	// [orbax.Report] do not affect the metadata. With [orbax.FollowLinks] all
	// steps are opened in that way: steps that consist of links are listed and may be
	// loaded. [orbax.Mapped] is refused here and in each load, with [orbax.ErrUsage],
	// because mapped memory is valid only while the step is open; use
	// [Checkpointer.Open].
	LoadOptions []orbax.LoadCheckpointablesOption
}

// Sharing configures which bytes a step shares with the step before instead of writing
// them again; see the package documentation. Sharing is for arrays in memory that are
// stored in a database, which is the default. If the store has neither links nor copies of
// its own, or the save replaces a step, everything is written. An object store copies files of
// 1 MiB and more: that saves their upload, not their room.
type Sharing struct {
	// Off writes each step as a whole.
	Off bool
	// FreshEvery is the largest number of consecutive steps that have the same bytes,
	// before these are written again; 0 means 10, and 1 shares nothing. A byte that rots
	// on the disk is lost for all steps that share it. If fewer than FreshEvery steps are
	// kept, as with LatestN{N: 3} alone, that may be every step. Keep some older steps
	// too, for instance with [EveryNSteps], or set FreshEvery below the number of steps
	// that are kept.
	FreshEvery int
	// MaxDead is the largest fraction of a shared file, from 0 to 1, that may belong to
	// no leaf of the step any more. Beyond it the used rest of the file is written again.
	// 0 means 0.5.
	MaxDead float64
}

func (o *Options) setDefaults() {
	if o.SaveDecision == nil {
		o.SaveDecision = AnySavePolicy{InitialSavePolicy{}, ContinuousCheckpointingPolicy{}, PreemptionCheckpointingPolicy{}}
	}
	if o.Preservation == nil {
		o.Preservation = PreserveAll{}
	}
	o.Logger = newLogger(o.Logger)
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

// Force returns an option that saves a step whatever the policy says, even if it is older
// than the newest.
func Force() orbax.SaveCheckpointablesOption {
	return stepOption(func(s *save.Step) { s.Force = true })
}

// stepOption is an option about how a step is saved.
type stepOption func(*save.Step)

func (o stepOption) ApplySave(c *save.Config) { o(&c.Step) }
func (o stepOption) ForCheckpointables()      {}
