package storage_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage"
)

// ranks is how many writers a save of TestFencing has.
const ranks = 4

// TestFencing is a run of saves by several writers to one path. The first of them, which
// commits, stops at any moment. Another writer ends its stage, saves in its place, and the
// first one wakes up: while the other is at work, or later. A reader sees a whole save at
// any moment, and the path always has the last save that was reported to be committed.
func TestFencing(t *testing.T) {
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("the path is missing for a moment where directories cannot be exchanged")
	}
	dir := filepath.ToSlash(scratch(t)) + "/ck"
	must(t, saveTogether(dir, 0, storage.Local(), nil))
	var stop atomic.Bool
	var reader sync.WaitGroup
	seen := map[int]bool{}
	reader.Go(func() {
		for !stop.Load() {
			version, err := wholeVersion(dir)
			if err != nil {
				t.Error(err)
				return
			}
			seen[version] = true
		}
	})
	committed, fenced, late := 0, 0, 0
	for round := range testenv.Pick(1000, 100) {
		if t.Failed() {
			break
		}
		p := newPaused(rand.IntN(25), false)
		ticket := make(chan string, 1)
		primary, successor := 2*round+1, 2*round+2
		begun := func(text string) {
			ticket <- text
			p.armed.Store(true)
		}
		if !p.start(func() error { return saveTogether(dir, primary, p.Store(), begun) }) {
			must(t, p.end())
			committed = primary
			continue
		}
		wakesEarly := round%2 == 0
		if wakesEarly {
			close(p.resume)
		}
		revokeErr := storage.Local().Revoke(t.Context(), <-ticket)
		if revokeErr == nil {
			must(t, saveTogether(dir, successor, storage.Local(), nil))
			fenced++
		}
		if !wakesEarly {
			close(p.resume)
		}
		primaryErr := <-p.done
		switch {
		case revokeErr == nil && errors.Is(primaryErr, fault.ErrNotExist):
			committed = successor
		case errors.Is(revokeErr, fault.ErrNotExist) && primaryErr == nil:
			committed = primary
			late++
		default:
			t.Errorf("round %d: the save: %v; Revoke: %v; want that one of them succeeds", round, primaryErr, revokeErr)
		}
		if version, err := wholeVersion(dir); err != nil || version != committed {
			t.Errorf("round %d: the path has %d, %v; want %d", round, version, err, committed)
		}
	}
	stop.Store(true)
	reader.Wait()
	t.Logf("%d saves were fenced, %d had committed; the reader has seen %d", fenced, late, len(seen))
	left, err := storage.Local().Left(t.Context(), dir)
	must(t, err)
	for _, name := range names(t, filepath.Dir(dir)) {
		if name != "ck" && !slices.Contains(left, filepath.ToSlash(filepath.Dir(dir))+"/"+name) {
			t.Errorf("%s is there, and Left does not return it", name)
		}
	}
}

// saveTogether saves a version: ranks writers write one file each, and the first of them
// commits when the others have closed. It calls begun with the ticket, if that is not nil.
func saveTogether(dir string, version int, store storage.Store, begun func(ticket string)) error {
	ctx := context.Background()
	stage, err := store.Begin(ctx, dir, storage.BeginOptions{Replace: storage.Everything})
	if err != nil {
		return err
	}
	text := stage.Ticket()
	if begun != nil {
		begun(text)
	}
	errs := make([]error, ranks)
	var group sync.WaitGroup
	for rank := range ranks {
		group.Go(func() {
			if rank == 0 {
				errs[0] = writeVersion(stage, rank, version)
				return
			}
			j, err := storage.Local().Join(ctx, text)
			if err == nil {
				err = errors.Join(writeVersion(j, rank, version), j.Close(ctx))
			}
			errs[rank] = err
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return errors.Join(err, stage.Abort())
	}
	return stage.Commit(ctx)
}

func writeVersion(to storage.Files, rank, version int) error {
	w, err := to.Create(context.Background(), fmt.Sprint("d/", rank), -1)
	if err != nil {
		return err
	}
	return errors.Join(w.WriteAt(context.Background(), []byte(strconv.Itoa(version)), 0), w.Close())
}

// wholeVersion returns the version of the directory at a path. It reads the directory
// again if that is removed meanwhile, because another one has taken its place.
func wholeVersion(dir string) (int, error) {
	for {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return 0, err
		}
		versions := make([]string, ranks)
		for rank := range ranks {
			data, rerr := root.ReadFile(fmt.Sprint("d/", rank))
			versions[rank] = string(data)
			err = errors.Join(err, rerr)
		}
		is, serr := root.Stat(".")
		now, nerr := os.Stat(dir)
		root.Close()
		if errors.Is(err, fs.ErrNotExist) && errors.Join(serr, nerr) == nil && !os.SameFile(is, now) {
			continue
		}
		if len(slices.Compact(slices.Clone(versions))) > 1 {
			err = errors.Join(err, fmt.Errorf("a mixture of the versions %q", versions))
		}
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(versions[0])
	}
}
