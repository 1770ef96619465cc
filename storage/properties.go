package storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
)

// Properties say how a store works. Each that is zero promises nothing, so the zero
// value is that of a store which can only be read, one byte as well as another.
type Properties struct {
	// Rename says that Begin takes no Marker, or none is needed: the whole directory
	// appears in one step.
	Rename bool
	// Marker says that Begin takes a Marker.
	Marker bool
	// Edit says that the store can change and remove what has been committed.
	Edit bool
	// Links says what Files.Link does.
	Links LinkKind

	// ReadUnit is the number of bytes that one read should have, where as many are
	// wanted, and ReadGap how many bytes are better read for nothing than left out by a
	// second read. 0: any.
	ReadUnit, ReadGap int64
	// WriteUnit is the number of bytes that a write should have. 0: any.
	WriteUnit int64
	// Sequential says that the bytes of a file must be written in their order.
	Sequential bool
	// Concurrency is how many reads and writes the store can do at the same time. 0: as
	// many as there are cores to use what is read.
	Concurrency int
}

// LinkKind is what a store does to give a file another name.
type LinkKind int

const (
	// LinkNone copies the bytes through this process.
	LinkNone LinkKind = iota
	// LinkHard lets two names share the bytes, on the same file system.
	LinkHard
	// LinkCopy has the store copy the bytes: they need not come here, and take up room
	// twice.
	LinkCopy
)

// Base has the methods of a store that cannot be written and has no links. Embed it in
// a store that implements Open, Stat, List and whatever else it can do.
type Base struct{}

// Properties returns those of a store that can only be read.
func (Base) Properties() Properties { return Properties{} }

// Entries fails, so that the function Entries lists.
func (Base) Entries(context.Context, string) ([]Entry, error) { return nil, errors.ErrUnsupported }

// Confined returns nil, as there are no links.
func (Base) Confined(string, bool) Store { return nil }

// Begin fails with ErrUnsupported.
func (Base) Begin(context.Context, string, BeginOptions) (Stage, error) {
	return nil, fmt.Errorf("%w: the store of this path cannot be written", fault.ErrUnsupported)
}

// Join fails with ErrUnsupported.
func (Base) Join(context.Context, string) (Joined, error) {
	return nil, fmt.Errorf("%w: a save to this store cannot be joined", fault.ErrUnsupported)
}

// Edit fails with ErrUnsupported.
func (Base) Edit(context.Context, string) (Edit, error) {
	return nil, fmt.Errorf("%w: the store of this path cannot change what has been saved", fault.ErrUnsupported)
}

// Locks reports that there are none.
func (Base) Locks(context.Context, string) bool { return false }

// Left returns nothing.
func (Base) Left(context.Context, string) ([]string, error) { return nil, nil }

// Room fails with errors.ErrUnsupported.
func (Base) Room(context.Context, string) (int64, error) { return 0, errors.ErrUnsupported }

// check refuses options that do not go together, or not with a store of these properties.
func (o BeginOptions) check(p Properties) error {
	switch {
	case o.Into != nil && (o.Replace != nil || o.Marker != ""):
		return fmt.Errorf("%w: the entry of a directory neither replaces anything nor is written in its place", fault.ErrUnsupported)
	case o.Marker != "" && !p.Marker:
		return fmt.Errorf("%w: the store of this path cannot write a directory in its place", fault.ErrUnsupported)
	case o.Marker == "" && !p.Rename:
		return fmt.Errorf("%w: the store of this path cannot make a directory appear in one step", fault.ErrUnsupported)
	}
	return nil
}
