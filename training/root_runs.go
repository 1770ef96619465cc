package training

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// errOfRuns reports that a root has no steps, and names the runs in it.
type errOfRuns struct{ runs []string }

func (e errOfRuns) Error() string { return fmt.Sprintf("%v: %s", fault.ErrNotExist, e.text()) }

// Unwrap makes the error of a root that has only runs match that of a root without steps.
func (errOfRuns) Unwrap() error { return fault.ErrNotExist }

func (e errOfRuns) text() string {
	if len(e.runs) == 1 {
		return fmt.Sprintf("there are no steps, and its entry %s is a run; give that", fault.List(e.runs))
	}
	return fmt.Sprintf("there are no steps, and its entries %s are runs; give one of them", fault.List(e.runs))
}

// errNotNew is the error that New returns for a root without steps in which a run must
// not begin.
type errNotNew struct{ error }

func (e errNotNew) Unwrap() error { return e.error }

// notNew wraps err, the error of a look at a root without steps, in an errNotNew; nil
// stays nil. The content of a root must be known before a run begins there.
func notNew(err error) error {
	if err == nil || errors.As(err, new(errOfRuns)) {
		return err
	}
	return errNotNew{fmt.Errorf("it is not known whether there are steps: %w", err)}
}

// refused returns the error of a program that would begin a run next to these.
func (e errOfRuns) refused() error {
	return fmt.Errorf("%w: %s, or a directory without runs for a new one; Options.RunsInside takes this one", fault.ErrInvalidCheckpoint, e.text())
}

// mayBegin returns an error if the root has no steps and a run must not begin there.
func mayBegin(s *steps, runsInside bool) error {
	_, none := s.find(LatestStep)
	var of errOfRuns
	if errors.As(none, &of) && !runsInside {
		return of.refused()
	}
	if errors.As(none, new(errNotNew)) {
		return none
	}
	return nil
}

// ofRuns returns an errOfRuns for a root without steps that seems to be a directory of
// runs; see New.
func (r *root) ofRuns(ctx context.Context, e *entries) error {
	inside := e.others
	for _, c := range e.steps {
		inside = append(inside[:len(inside):len(inside)], c.info)
	}
	for _, o := range inside {
		if of, _, temporary := strings.Cut(o.Name, storage.TempMarker); temporary {
			if _, isStep := stepOf(r.names, of); isStep || of == layout.RootMetadataDir {
				return nil
			}
		}
		if o.Dir && o.Name == layout.RootMetadataDir {
			if has, err := r.hasMetadata(ctx); has || err != nil {
				return err
			}
		}
	}
	runs, err := layout.RunsIn(ctx, r.at, inside, func(name string) bool {
		_, is := stepOf(r.names, name)
		return is
	})
	if len(runs) == 0 {
		return err
	}
	return errOfRuns{runs}
}

// hasMetadata reports whether the root has the metadata of a run. It returns true for an
// entry of that name that it has no permission to read.
func (r *root) hasMetadata(ctx context.Context) (bool, error) {
	has, err := hasFile(ctx, r.at.Join(layout.RootMetadataDir), layout.RootMetadataFile, layout.OldRootMetadataFile, layout.DigestFile)
	if errors.Is(err, fs.ErrPermission) {
		return true, nil
	}
	return has, err
}

// isMetadata reports whether the directory is the directory of a run's metadata.
func (r *root) isMetadata(ctx context.Context) (bool, error) {
	names := []string{layout.RootMetadataFile}
	if r.at.Base() == layout.RootMetadataDir { // the old name alone means nothing
		names = append(names, layout.OldRootMetadataFile)
	}
	return hasFile(ctx, r.at, names...)
}

// hasFile reports whether a directory has a file with one of the names.
func hasFile(ctx context.Context, dir storage.Location, names ...string) (bool, error) {
	for _, name := range names {
		info, err := dir.Join(name).Stat(ctx)
		if err == nil && !info.Dir {
			return true, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return false, nil
}
