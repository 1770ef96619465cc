// Package config has the structs that the options of package orbax fill. The methods of
// the option interfaces take these structs. So the packages of this module can define
// options of their own and read which options are set. Programs cannot name the structs,
// so they can do neither. The options of saves fill
// [github.com/go-orbax/orbax/internal/save.Config].
package config

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/handover"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/view"
)

// Common holds the options that saves and loads have in common.
type Common struct {
	// Budget bounds the memory for buffers, in bytes. 0 means the default.
	Budget int64
	// Reports are called when the operation has ended.
	Reports []func(transfer.Sample)
	// Progress is called now and then, and once when the operation has ended, after
	// Reports.
	Progress []func(transfer.Sample)
	// Together says that several processes do the operation together: those of Group, or
	// this process alone if Group is nil.
	Together bool
	Group    *coord.Group
	// Owner returns the rank of the process of Group that has a device.
	Owner func(device int) (rank int)
	// HandOver says that the processes of Group divide the reading of a load. They reach
	// each other over Network, in which this process listens at Address.
	HandOver bool
	Network  handover.Network
	Address  string
}

// Process returns which part of arrays with a sharding belongs to this process. It is
// that of one process alone without a Group.
func (c *Common) Process() sharding.Process {
	p := sharding.Process{Size: 1, Owner: func(int) int { return 0 }}
	if c.Group != nil {
		p = sharding.Process{Rank: c.Group.Rank(), Size: c.Group.Size(), Owner: c.Owner}
	}
	return p
}

// Session begins the part of this process in the load of a path by several processes that
// divide the reading. It returns nil for all other loads.
func (c *Load) Session(path string) *handover.Session {
	if !c.Together || !c.HandOver || c.Group == nil || c.Group.Size() == 1 {
		return nil
	}
	return handover.Begin(c.Group, c.Process(), fmt.Sprintf("path %q, fill missing chunks %t", path, c.Handler.Fill), c.Network, c.Address)
}

// NewEngine returns an engine that moves the data of a save or a load.
func (c *Common) NewEngine() *transfer.Engine {
	return &transfer.Engine{Budget: c.Budget, Meter: new(transfer.Meter)}
}

// Open holds the options of orbax.Open.
type Open struct {
	// Store, if not nil, is the store in which the path is a name.
	Store storage.Store
	// FollowLinks allows symbolic links to lead out of the checkpoint.
	FollowLinks bool
	// OneCall says that one function opens and closes the checkpoint. Loads whose results
	// are valid only while the checkpoint is open are refused.
	OneCall bool
	// Unopened, if not nil, is called by a function that loads, if it cannot open the
	// checkpoint. It returns the error of the function.
	Unopened func(ctx context.Context, err error) error
}

// Mapping says whether a load maps files.
type Mapping int

// These are the ways to map files.
const (
	MapNothing    Mapping = iota
	MapVerified           // after checking every byte
	MapUnverified         // without checking
)

// Load holds the options of a load.
type Load struct {
	Common
	Open
	// Name is the name of the checkpointable; "" means the default.
	Name     string
	Registry *handler.Registry
	Handler  handler.LoadOptions
	Mapping  Mapping
	// Other opens another pytree of the checkpoint, for Transform.
	Other func(ctx context.Context, name string) (*view.Tree, error)
}

// Delete holds the options of a deletion.
type Delete struct {
	// Store, if not nil, is the store in which the path is a name.
	Store storage.Store
	// Named says that the checkpointable called Name is deleted instead of the
	// checkpoint.
	Named bool
	Name  string
	// MissingOK makes the deletion succeed if there is nothing to delete.
	MissingOK bool
	// Deleted point to variables that are set to whether something was deleted.
	Deleted []*bool
	// Recovered are called when the deletion has succeeded, with the work of a dead writer
	// that it has finished or undone before.
	Recovered []func(*storage.Work)
	// Still, if not nil, is called after the deletion has claimed the place, so that no
	// other writer can change it. If Still returns an error, nothing is deleted and the
	// deletion returns that error.
	Still func(ctx context.Context) error
}

// Tell calls Recovered.
func (c *Delete) Tell(recovered *storage.Work) {
	for _, tell := range c.Recovered {
		tell(recovered)
	}
}

// NewLoad returns a [Load] that options have filled. It ignores a nil option, by which a
// program leaves an option out. The other functions do so too.
func NewLoad[O interface{ ApplyLoad(*Load) }](options []O) *Load {
	c := &Load{}
	for _, o := range options {
		if any(o) != nil {
			o.ApplyLoad(c)
		}
	}
	return c
}

// NewOpen returns an [Open] that options have filled.
func NewOpen[O interface{ ApplyOpen(*Open) }](options []O) *Open {
	c := &Open{}
	for _, o := range options {
		if any(o) != nil {
			o.ApplyOpen(c)
		}
	}
	return c
}

// NewDelete returns a [Delete] that options have filled.
func NewDelete[O interface{ ApplyDelete(*Delete) }](options []O) *Delete {
	c := &Delete{}
	for _, o := range options {
		if any(o) != nil {
			o.ApplyDelete(c)
		}
	}
	return c
}

// Convert converts options to another kind of options that they all also are. A nil
// option stays nil.
func Convert[To, From any](options []From) []To {
	all := make([]To, len(options))
	for i, o := range options {
		if any(o) != nil {
			all[i] = any(o).(To)
		}
	}
	return all
}

// Locate returns the location of path: in store, or, if store is nil, where the path
// itself leads. With store, a URL is refused: cleaning would turn its two slashes into one,
// and the rest would name a wrong place in store.
func Locate(ctx context.Context, store storage.Store, path string) (storage.Location, error) {
	switch {
	case store == nil:
		return storage.Resolve(ctx, path)
	case path == "":
		return storage.Location{}, fmt.Errorf("%w: empty path (%w)", fault.ErrUsage, fs.ErrInvalid)
	case strings.Contains(path, "://"):
		return storage.Location{}, fmt.Errorf("%w: %s is a URL, and not a name in the store that was given with it; leave out the store, or write the name in it", fault.ErrUsage, fault.Redacted(path))
	}
	return storage.At(store, path), nil
}
