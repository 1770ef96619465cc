package orbax

import (
	"fmt"

	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/fault"
)

// OpenOption is an option of Open and IsCheckpoint: FollowLinks, which the loads and
// other functions that open a path take too.
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
// may be shared, and refuses it with ErrUnsupported elsewhere.
func FollowLinks() LinksOption { return linksOption{} }

type linksOption struct{}

func (linksOption) ApplyOpen(c *config.Open)    { c.FollowLinks = true }
func (linksOption) ApplyLoad(c *config.Load)    { c.FollowLinks = true }
func (linksOption) ForCheckpointables()         {}
func (linksOption) applyVerify(c *verifyConfig) { c.FollowLinks = true }

// opening returns the options with which a load opens its checkpoint.
func opening[O LoadOption](options []O) []OpenOption {
	return openingOf(&config.NewLoad(options).Open)
}

func openingOf(c *config.Open) []OpenOption {
	if c.FollowLinks {
		return []OpenOption{linksOption{}}
	}
	return nil
}

// checkOpening refuses options that come too late for a checkpoint that is open.
func (c *Checkpoint) checkOpening(o *config.Open) error {
	if o.FollowLinks && !c.opened.FollowLinks {
		return fmt.Errorf("%w: FollowLinks has to be given to Open", fault.ErrUsage)
	}
	return nil
}
