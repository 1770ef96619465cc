package orbax

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/found"
	"github.com/go-orbax/orbax/internal/handover"
	"github.com/go-orbax/orbax/internal/save"
	"github.com/go-orbax/orbax/storage"
)

// OpenOption is an option of [Open] and [IsCheckpoint]: [FollowLinks] or [In]. The loads
// and other functions that open a path take these too.
type OpenOption interface{ ApplyOpen(c *config.Open) }

// LinksOption is the result of [FollowLinks].
type LinksOption interface {
	OpenOption
	LoadCheckpointablesOption
	VerifyOption
	RepairOption
}

// FollowLinks lets symbolic links inside a checkpoint lead to files outside it. It is for
// checkpoints that are assembled from links. The author of the checkpoint then decides
// which files of the machine are read: use it only for checkpoints that you trust.
// Without FollowLinks a read through such a link is an error that matches [ErrLink].
//
// It is an option of [Open] and [IsCheckpoint], and of the functions that open a path
// themselves: the loads, [Metadata], [Verify], [Hash], [Repair] and [Diff], which opens
// both checkpoints with it. A method of a [Checkpoint] accepts it if Open had it, so that
// a program can share its options, and otherwise refuses it with [ErrUsage].
func FollowLinks() LinksOption { return linksOption{} }

type linksOption struct{}

func (linksOption) ApplyOpen(c *config.Open)    { c.FollowLinks = true }
func (linksOption) ApplyLoad(c *config.Load)    { c.FollowLinks = true }
func (linksOption) ForCheckpointables()         {}
func (linksOption) applyVerify(c *verifyConfig) { c.FollowLinks = true }
func (linksOption) applyRepair(c *repairConfig) { c.FollowLinks = true }

// StoreOption is the result of [In].
type StoreOption interface {
	CommonOption
	OpenOption
	DeleteOption
	VerifyOption
	RepairOption
	// ForSessions marks the options of package partial for whole sessions.
	ForSessions()
}

// In makes a call take its path as a name in store. The program has made store: with its
// own credentials, for example, or by storage/mem in a test. All functions that take a
// path accept In, those of package partial too; training.Options has a field for it. A
// path that has a scheme or is on the local disk needs no In. In(nil) has no effect.
//
// A method of a [Checkpoint] accepts it if [Open] had it, so that a program can share its
// options, and otherwise refuses it with [ErrUsage].
func In(store storage.Store) StoreOption { return storeOption{store} }

type storeOption struct{ store storage.Store }

func (o storeOption) ApplySave(c *save.Config)     { c.Store = cmp.Or(o.store, c.Store) }
func (o storeOption) ApplyLoad(c *config.Load)     { o.ApplyOpen(&c.Open) }
func (o storeOption) ApplyOpen(c *config.Open)     { c.Store = cmp.Or(o.store, c.Store) }
func (o storeOption) ApplyDelete(c *config.Delete) { c.Store = cmp.Or(o.store, c.Store) }
func (o storeOption) applyVerify(c *verifyConfig)  { o.ApplyOpen(&c.Open) }
func (o storeOption) applyRepair(c *repairConfig)  { o.ApplyOpen(&c.Open) }
func (o storeOption) ForCheckpointables()          {}
func (o storeOption) ForSessions()                 {}

// opening returns the options for opening the checkpoint of a load.
func opening[O LoadOption](options []O) []OpenOption {
	return openingOf(&config.NewLoad(options).Open)
}

// openingFor is opening for a load of path, which several processes may do together.
func openingFor[O LoadOption](path string, options []O) []OpenOption {
	c := config.NewLoad(options)
	c.Unopened = func(ctx context.Context, err error) error {
		return endTogether(ctx, "load", path, c.Session(path), err)
	}
	return openingOf(&c.Open)
}

// endTogether ends a load that several processes do together, with the outcome err in this
// one. Its error does not make one process load again, because the others would not.
func endTogether(ctx context.Context, op, path string, s *handover.Session, err error) error {
	if s == nil {
		return err
	}
	if err = s.End(ctx, err); errors.Is(err, found.ErrReplaced) {
		err = fault.Remote(err.Error(), fault.ClassesOf(err))
	}
	return wrap(ctx, op, path, err)
}

func openingOf(c *config.Open) []OpenOption { return []OpenOption{openOption(*c)} }

// openOption is an option that sets all options of Open.
type openOption config.Open

func (o openOption) ApplyOpen(c *config.Open) { *c = config.Open(o) }

// checkOpening refuses options that come too late for an open checkpoint.
func (c *Checkpoint) checkOpening(o *config.Open) error {
	if o.FollowLinks && !c.opened.FollowLinks {
		return fmt.Errorf("%w: FollowLinks has to be given to Open", fault.ErrUsage)
	}
	if o.Store != nil && !sameStore(o.Store, c.opened.Store) {
		return fmt.Errorf("%w: In has to be given to Open", fault.ErrUsage)
	}
	return nil
}

// sameStore reports whether two stores are the same. Stores of a type that cannot be
// compared are taken for the same.
func sameStore(a, b storage.Store) bool {
	if reflect.TypeOf(a) != reflect.TypeOf(b) {
		return false
	}
	return !reflect.ValueOf(a).Comparable() || a == b
}
