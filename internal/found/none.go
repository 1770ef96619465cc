package found

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// checkpointsIn returns the names of the entries of dir that are checkpoints.
func checkpointsIn(ctx context.Context, at storage.Location, entries []storage.Info) (names []string) {
	for _, e := range entries {
		if !e.Dir || IsTemporary(e.Name) {
			continue
		}
		if _, err := at.Join(e.Name, layout.CheckpointFile).Stat(ctx); err != nil {
			continue
		}
		if committed, err := Committed(ctx, at.Join(e.Name)); committed && err == nil {
			names = append(names, e.Name)
		}
	}
	return names
}

// NotCheckpoint returns an error that says what a directory without checkpoint metadata
// may be.
func NotCheckpoint(ctx context.Context, at storage.Location) error {
	if IsSession(at.Name) {
		return fmt.Errorf("%w: a session of partial saves that is not finalized; finalize it", fault.ErrIncomplete)
	}
	entries, err := at.List(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return fault.ErrNotExist // it was removed meanwhile
	}
	if err != nil {
		return err
	}
	switch begun, err := hasBegun(ctx, at, entries); {
	case err != nil:
		return err
	case begun:
		return fault.ErrUnfinished
	case hasDigests(ctx, at) || hasFile(entries, layout.IndicatorFile):
		// A save by marker may have written it, and the marker, since the first lookup.
		_, err := at.Join(layout.CheckpointFile).Stat(ctx)
		switch {
		case err == nil:
			return ErrReplaced
		case !isAbsent(err):
			return err
		}
		return fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, layout.CheckpointFile)
	}
	steps := checkpointsIn(ctx, at, entries)
	var readable error
	if len(steps) == 0 {
		steps = oldCheckpointsIn(ctx, at, entries)
	}
	if len(steps) == 0 {
		readable = holdsReadable(ctx, at, entries)
	}
	slices.SortFunc(steps, byNumber)
	switch n := len(steps); {
	case n > fault.MaxListed:
		return fmt.Errorf("%w: it is a directory of %d of them; give the path of one, such as that of %s in it", fault.ErrInvalidCheckpoint, n, fault.Shown(steps[n-1]))
	case n > 0:
		return fmt.Errorf("%w: it is a directory of checkpoints; give the path of one of them: %s", fault.ErrInvalidCheckpoint, fault.List(steps))
	case len(entries) == 0:
		return fault.ErrEmptyDirectory
	case looksBegun(ctx, at, entries):
		return fmt.Errorf("%w: it has only the first directories of a save, which has died or goes on", fault.ErrIncomplete)
	case readable != nil:
		return readable
	}
	if len(entries) > maxOldLooks {
		return foreignError{fault.ErrInvalidCheckpoint, entries} // there may be old checkpoints among the entries that were not looked at
	}
	return foreignError{fmt.Errorf("%w, and none of its entries is one", fault.ErrInvalidCheckpoint), entries}
}

// foreignError is the error for a directory in which nothing looks like a part of a
// checkpoint.
type foreignError struct {
	error
	entries []storage.Info
}

func (e foreignError) Unwrap() error { return e.error }

// NameForeign adds to an error of this package the names of the first entries of the
// directory, if nothing in it looks like a part of a checkpoint. It is for operations that
// would remove the directory: their caller sees what would be lost.
func NameForeign(err error) error {
	var foreign foreignError
	if !errors.As(err, &foreign) {
		return err
	}
	var names []string
	for _, e := range foreign.entries {
		name := e.Name
		if e.Dir {
			name += "/"
		}
		names = append(names, name)
	}
	return fmt.Errorf("%w: %s", err, fault.List(names))
}

// byNumber compares names by the numbers at their ends, as the names of steps have them.
func byNumber(a, b string) int {
	number := func(name string) string {
		return strings.TrimLeft(name[len(strings.TrimRight(name, "0123456789")):], "0")
	}
	x, y := number(a), number(b)
	return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y), cmp.Compare(a, b))
}
