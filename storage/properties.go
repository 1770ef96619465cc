package storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
)

// Properties describe how a store works. A zero field promises nothing. So the zero value
// describes a store that can only be read, by requests of any size.
type Properties struct {
	// Rename says that Begin works without a Marker: Commit makes the whole directory
	// appear in one step.
	Rename bool
	// Marker says that Begin accepts a [BeginOptions].Marker.
	Marker bool
	// Edit says that the store can change and remove committed directories.
	Edit bool
	// Links says how [Files].Link works.
	Links LinkKind
	// ShareMin is the size from which on [LinkOptions].Share of a file costs less than
	// another write of its bytes. 0 means any size.
	ShareMin int64

	// ReadUnit is the number of bytes that one read should have if the caller wants as
	// many. ReadGap is the largest gap between two wanted ranges that one read should
	// cover, instead of two reads. 0 means any number.
	ReadUnit, ReadGap int64
	// WriteUnit is the number of bytes that one write should have. 0 means any number.
	WriteUnit int64
	// Sequential says that the bytes of a file must be written in their order.
	Sequential bool
	// Concurrency is how many reads and writes of one plan the store should get at the
	// same time. A plan is the reads or the writes of one call of this module, such as a
	// load or a save, for one checkpointable. Several calls, and the checkpointables of one
	// call, do not count each other's requests: a store with a hard limit must limit itself.
	// 0 leaves the choice to the caller.
	Concurrency int
}

// NeedsMarker reports whether every directory that the store publishes has a
// [BeginOptions].Marker, because the store cannot rename, as an object store cannot. In
// such a store a directory without the file commit_success.txt is no checkpoint for any
// function of this module, and every save writes that file.
func (p Properties) NeedsMarker() bool { return p.Marker && !p.Rename }

// LinkKind is the way in which a store gives a file a second name.
type LinkKind int

const (
	// LinkNone copies the bytes through this process.
	LinkNone LinkKind = iota
	// LinkHard makes the two names share the bytes, within one file system.
	LinkHard
	// LinkCopy makes the store copy the bytes, also for [LinkOptions].Share. They do not pass
	// through this process, but they take room twice.
	LinkCopy
)

// Base implements the methods of a store that can only be read and has no links. Embed it
// in a store, and implement Open, Stat, List, and the other methods that the store
// supports.
type Base struct{}

// Properties returns the zero value, as for a store that can only be read.
func (Base) Properties() Properties { return Properties{} }

// Entries fails with errors.ErrUnsupported, so that the function [Entries] calls List.
func (Base) Entries(context.Context, string) ([]Entry, error) { return nil, errors.ErrUnsupported }

// Confined returns nil, because there are no links.
func (Base) Confined(string, bool) Store { return nil }

// Snapshot returns nil: callers read from the store itself.
func (Base) Snapshot(context.Context, string) (Store, error) { return nil, nil }

// Begin fails with orbax.ErrUnsupported.
func (Base) Begin(context.Context, string, BeginOptions) (Stage, error) {
	return nil, fmt.Errorf("%w: the store of this path cannot be written", fault.ErrUnsupported)
}

// Join fails with orbax.ErrUnsupported.
func (Base) Join(context.Context, string) (Joined, error) {
	return nil, fmt.Errorf("%w: a save to this store cannot be joined", fault.ErrUnsupported)
}

// Revoke fails with orbax.ErrUnsupported.
func (Base) Revoke(context.Context, string) error {
	return fmt.Errorf("%w: a save to this store cannot be ended by others", fault.ErrUnsupported)
}

// Edit fails with orbax.ErrUnsupported.
func (Base) Edit(context.Context, string) (Edit, error) {
	return nil, fmt.Errorf("%w: the store of this path cannot change what has been saved", fault.ErrUnsupported)
}

// Locks returns false.
func (Base) Locks(context.Context, string) bool { return false }

// Left returns none.
func (Base) Left(context.Context, string) ([]string, error) { return nil, nil }

// Work returns nil.
func (Base) Work(context.Context, string) (*Work, error) { return nil, nil }

// Room fails with errors.ErrUnsupported.
func (Base) Room(context.Context, string) (int64, error) { return 0, errors.ErrUnsupported }

// Check returns an error that matches ErrUnsupported if the options do not go together, or
// ask for what a store of properties p cannot do. A store calls it first in Begin.
func (o BeginOptions) Check(p Properties) error {
	switch {
	case o.Into != nil && o.Replace != nil:
		return fmt.Errorf("%w: the entry of a directory replaces nothing", fault.ErrUnsupported)
	case o.Into != nil && o.Marker != "" && p.Rename:
		return fmt.Errorf("%w: the entry of a directory appears in one step in this store, and needs no marker", fault.ErrUnsupported)
	case o.Marker != "" && !p.Marker:
		return fmt.Errorf("%w: the store of this path cannot write a directory in its place", fault.ErrUnsupported)
	case o.Marker == "" && !p.Rename:
		return fmt.Errorf("%w: the store of this path cannot make a directory appear in one step", fault.ErrUnsupported)
	}
	return nil
}
