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

// An entry may be gone before it can be described, for example a step that is removed
// while its successor gets its name. Then the directory is read again: at most listTries
// times, with growing pauses, until the error reports that it changes too fast.
const (
	listTries  = 40
	emptyTries = 3 // a reading may miss an entry that is renamed or removed meanwhile
	listPause  = 100 * time.Microsecond
	maxPause   = 10 * time.Millisecond
)

// listStable returns the entries of a directory. names reads the directory. describe
// describes an entry. It fails with fs.ErrNotExist if the entry is gone, and returns
// false if the entry is to be left out. The result keeps the promise of [Store].List
// about directories that change meanwhile.
func listStable(ctx context.Context, dir string, names func() ([]fs.DirEntry, error), describe func(fs.DirEntry) (Info, bool, error)) ([]Info, error) {
	var missed map[string]bool // in the reading before this one
	empty := 0                 // number of successive readings without entries
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
		// An entry that two readings list, and that cannot be described either time, does
		// not exist: a network file system may list it for a while longer.
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
