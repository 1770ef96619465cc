package storage_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage"
)

// clean removes the temporary directories in dir that look like those of dead writers.
func clean(t *testing.T, dir string) (removed int) {
	for _, name := range names(t, dir) {
		if temporary, ours := storage.IsTemporary(name); !temporary || !ours {
			continue
		}
		e, err := storage.Local().Edit(t.Context(), filepath.ToSlash(filepath.Join(dir, name)))
		if err == nil {
			err = errors.Join(e.RemoveAll(t.Context(), storage.Everything), e.Close())
		}
		switch {
		case err == nil:
			removed++
		case !errors.Is(err, fault.ErrBusy) && !errors.Is(err, os.ErrNotExist):
			t.Error(err)
		}
	}
	return removed
}

// A temporary directory that another program removes before its writer has locked it is
// made anew; one that is locked stays.
func TestBeginBesideCleaner(t *testing.T) {
	for times := range 4 {
		top := t.TempDir()
		left := times
		r := &storage.Recorder{}
		r.Before = func(op storage.Op) error {
			if op.Kind == "lock" && left > 0 {
				left--
				if n := clean(t, top); n != 1 {
					t.Errorf("the cleaner removed %d", n)
				}
			}
			return nil
		}
		stage, err := r.Store().Begin(t.Context(), filepath.ToSlash(top)+"/ck", storage.BeginOptions{})
		must(t, err)
		if n := clean(t, top); n != 0 {
			t.Errorf("the cleaner removed %d of a live writer", n)
		}
		put(t, stage, "f", "data")
		must(t, stage.Commit(t.Context()))
		if got := names(t, top); len(got) != 1 || got[0] != "ck" {
			t.Errorf("left %q", got)
		}
	}
}

// A cleaner that would remove them all the time makes Begin fail, and leave nothing.
func TestBeginGivesUp(t *testing.T) {
	top := t.TempDir()
	r := &storage.Recorder{}
	r.Before = func(op storage.Op) error {
		if op.Kind == "lock" {
			clean(t, top)
		}
		return nil
	}
	if _, err := r.Store().Begin(t.Context(), filepath.ToSlash(top)+"/ck", storage.BeginOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if got := names(t, top); len(got) > 0 {
		t.Errorf("left %q", got)
	}
}

// Writers and cleaners at work together, as programs that start on the root of a run.
func TestWritersAndCleaners(t *testing.T) {
	top := scratch(t)
	rounds := testenv.Pick(300, 60)
	stop := make(chan struct{})
	var cleaners, writers sync.WaitGroup
	for range 2 {
		cleaners.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					clean(t, top)
				}
			}
		})
	}
	for w := range 2 {
		writers.Go(func() {
			for i := range rounds {
				stage, err := begin(t, filepath.Join(top, fmt.Sprintf("%d-%d", w, i%5)), true)
				if err != nil {
					t.Error(err)
					return
				}
				if err := stage.Mkdir(t.Context(), "state"); err != nil {
					t.Error(err)
				}
				if err := stage.Commit(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	cleaners.Wait()
	if got := temporary(t, top); len(got) > 0 {
		t.Errorf("left %s", strings.Join(got, ", "))
	}
}
