package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
)

// A directory is read again when an entry is gone before it could be described, as a
// step that is removed while its successor gets its name: so often, with pauses that
// grow, until the error says that it changes too fast.
const (
	listTries  = 40
	emptyTries = 3 // a reading may miss an entry that is renamed or removed meanwhile
	listPause  = 100 * time.Microsecond
	maxPause   = 10 * time.Millisecond
)

// listStable returns the entries of a directory. names reads the directory; describe
// describes an entry, or fails with fs.ErrNotExist if it is gone; of an entry that is
// to be left out it returns false. What is there before the call and after it is in the
// result, whatever else comes and goes meanwhile, and so is at least one of two
// entries of which one comes before the other goes.
func listStable(ctx context.Context, dir string, names func() ([]fs.DirEntry, error), describe func(fs.DirEntry) (Info, bool, error)) ([]Info, error) {
	var missed map[string]bool // by the reading before this one
	empty := 0                 // readings in a row that found nothing
	pause := listPause
	for range listTries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		entries, err := names()
		if err != nil {
			return nil, err
		}
		infos := make([]Info, 0, len(entries))
		gone := map[string]bool{}
		for _, e := range entries {
			info, is, err := describe(e)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				gone[e.Name()] = true
			case err != nil:
				return nil, err
			case is:
				infos = append(infos, info)
			}
		}
		if len(entries) == 0 {
			empty++
		} else {
			empty = 0
		}
		// An entry that two readings list and that cannot be described either time does
		// not exist: a file system over a network may go on to list it for a while.
		settled := len(gone) == 0 || maps.Equal(gone, missed)
		if settled && (len(entries) > 0 || empty == emptyTries) {
			return infos, nil
		}
		missed = gone
		time.Sleep(pause)
		pause = min(2*pause, maxPause)
	}
	return nil, fmt.Errorf("%s: %w: its entries change as fast as they are read", dir, fault.ErrBusy)
}
