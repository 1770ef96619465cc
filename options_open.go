package orbax

import (
	"cmp"
	"fmt"

	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/save"
	"github.com/go-orbax/orbax/storage"
)

// OpenOption is an option of Open and IsCheckpoint: FollowLinks and In, which the loads
// and other functions that open a path take too.
type OpenOption interface{ ApplyOpen(c *config.Open) }

// LinksOption is what FollowLinks returns.
type LinksOption interface {
	OpenOption
	LoadCheckpointablesOption
	VerifyOption
}

// FollowLinks lets symbolic links inside of a checkpoint lead to files outside of it. It
// is for checkpoints that were put together of links. The author of the checkpoint then
// decides which files of the machine are read: give it only for checkpoints that you
// trust. Without FollowLinks a read through such a link is an error that matches ErrLink.
//
// It is an option of [Open] and [IsCheckpoint], and of the functions that open a path
// by themselves: the loads, [Metadata], [Verify], [Hash] and [Diff], which opens both
// checkpoints so. A method of a Checkpoint takes it where Open had it, so that options
// may be shared, and refuses it with ErrUsage elsewhere.
func FollowLinks() LinksOption { return linksOption{} }

type linksOption struct{}

func (linksOption) ApplyOpen(c *config.Open)    { c.FollowLinks = true }
func (linksOption) ApplyLoad(c *config.Load)    { c.FollowLinks = true }
func (linksOption) ForCheckpointables()         {}
func (linksOption) applyVerify(c *verifyConfig) { c.FollowLinks = true }

// StoreOption is what In returns.
type StoreOption interface {
	CommonOption
	OpenOption
	DeleteOption
	VerifyOption
	RepairOption
}

// In says that the path is a name in store, which the program has made: one with
// credentials of its own, for instance, or one of storage/mem in a test. It is an option
// of every function that takes a path, in package partial too; training.Options have a
// field for it. A path that has a scheme or is on the local disk needs no In. In(nil) is
// passed over.
//
// A method of a Checkpoint takes it where Open had it, so that options may be shared, and
// refuses it with ErrUsage elsewhere.
func In(store storage.Store) StoreOption { return storeOption{store} }

type storeOption struct{ store storage.Store }

func (o storeOption) ApplySave(c *save.Config)     { c.Store = cmp.Or(o.store, c.Store) }
func (o storeOption) ApplyLoad(c *config.Load)     { o.ApplyOpen(&c.Open) }
func (o storeOption) ApplyOpen(c *config.Open)     { c.Store = cmp.Or(o.store, c.Store) }
func (o storeOption) ApplyDelete(c *config.Delete) { c.Store = cmp.Or(o.store, c.Store) }
func (o storeOption) applyVerify(c *verifyConfig)  { o.ApplyOpen(&c.Open) }
func (o storeOption) applyRepair(c *repairConfig)  { o.ApplyOpen(&c.Open) }
func (o storeOption) ForCheckpointables()          {}

// opening returns the options with which a load opens its checkpoint.
func opening[O LoadOption](options []O) []OpenOption {
	return openingOf(&config.NewLoad(options).Open)
}

func openingOf(c *config.Open) []OpenOption { return []OpenOption{openOption(*c)} }

// openOption is how a checkpoint is opened.
type openOption config.Open

func (o openOption) ApplyOpen(c *config.Open) { *c = config.Open(o) }

// checkOpening refuses options that come too late for a checkpoint that is open.
func (c *Checkpoint) checkOpening(o *config.Open) error {
	if o.FollowLinks && !c.opened.FollowLinks {
		return fmt.Errorf("%w: FollowLinks has to be given to Open", fault.ErrUsage)
	}
	if o.Store != nil && c.opened.Store == nil {
		return fmt.Errorf("%w: In has to be given to Open", fault.ErrUsage)
	}
	return nil
}
