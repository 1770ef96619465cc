// Package config has what the options of package orbax fill. The methods of the option
// interfaces take these structs: the packages of this module can define options of their
// own and read what is set, and programs, which cannot name the structs, cannot. The
// options of saves fill [github.com/go-orbax/orbax/internal/save.Config].
package config

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/view"
)

// Common is what saves and loads have in common.
type Common struct {
	// Budget bounds the memory for buffers, in bytes; 0 is the default.
	Budget int64
	// Reports are called when the operation has ended.
	Reports []func(transfer.Sample)
	// Progress is called now and then, and when the operation has ended, after Reports.
	Progress []func(transfer.Sample)
}

// NewEngine returns what moves the data of a save or a load.
func (c *Common) NewEngine() *transfer.Engine {
	return &transfer.Engine{Budget: c.Budget, Meter: new(transfer.Meter)}
}

// Open is what the options of Open fill.
type Open struct {
	// Store, if not nil, is the one in which the path is a name.
	Store storage.Store
	// FollowLinks lets symbolic links lead out of the checkpoint.
	FollowLinks bool
	// OneCall says that the function that opens the checkpoint closes it. Loads that are
	// valid only until then are refused.
	OneCall bool
}

// Mapping says whether a load maps files.
type Mapping int

// The ways of mapping.
const (
	MapNothing    Mapping = iota
	MapVerified           // with a look at every byte
	MapUnverified         // without
)

// Load is what the options of a load fill.
type Load struct {
	Common
	Open
	// Name is the checkpointable that is meant; "" is the default.
	Name     string
	Registry *handler.Registry
	Handler  handler.LoadOptions
	Mapping  Mapping
	// Other opens another pytree of the checkpoint, for Transform.
	Other func(ctx context.Context, name string) (*view.Tree, error)
}

// Delete is what the options of a deletion fill.
type Delete struct {
	// Store, if not nil, is the one in which the path is a name.
	Store storage.Store
	// Named says that the checkpointable Name is meant, and not the checkpoint.
	Named bool
	Name  string
	// MissingOK makes the deletion succeed where there is nothing to delete.
	MissingOK bool
	// Deleted are set to whether something was deleted.
	Deleted []*bool
	// Still, if not nil, is called once the place is claimed, so that no other writer can
	// change it. With an error, which the deletion returns, what is there stays.
	Still func(ctx context.Context) error
}

// NewLoad returns what options of a load fill. A nil among them is one that the program
// leaves out; so it is for the other functions.
func NewLoad[O interface{ ApplyLoad(*Load) }](options []O) *Load {
	c := &Load{}
	for _, o := range options {
		if any(o) != nil {
			o.ApplyLoad(c)
		}
	}
	return c
}

// NewOpen returns what options of Open fill.
func NewOpen[O interface{ ApplyOpen(*Open) }](options []O) *Open {
	c := &Open{}
	for _, o := range options {
		if any(o) != nil {
			o.ApplyOpen(c)
		}
	}
	return c
}

// NewDelete returns what options of a deletion fill.
func NewDelete[O interface{ ApplyDelete(*Delete) }](options []O) *Delete {
	c := &Delete{}
	for _, o := range options {
		if any(o) != nil {
			o.ApplyDelete(c)
		}
	}
	return c
}

// Locate returns the location that a path leads to: in store, if that is not nil.
func Locate(ctx context.Context, store storage.Store, path string) (storage.Location, error) {
	switch {
	case store == nil:
		return storage.Resolve(ctx, path)
	case path == "":
		return storage.Location{}, fmt.Errorf("%w: empty path", fs.ErrInvalid)
	}
	return storage.At(store, path), nil
}
