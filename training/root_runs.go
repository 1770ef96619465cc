package training

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// errOfRuns says that a root has no steps, and which runs are in it.
type errOfRuns struct{ runs []string }

func (e errOfRuns) Error() string { return fmt.Sprintf("%v: %s", fault.ErrNotExist, e.text()) }

// Unwrap makes a root that has only runs one without steps.
func (errOfRuns) Unwrap() error { return fault.ErrNotExist }

func (e errOfRuns) text() string {
	if len(e.runs) == 1 {
		return fmt.Sprintf("there are no steps, and its entry %s is a run; give that", fault.List(e.runs))
	}
	return fmt.Sprintf("there are no steps, and its entries %s are runs; give one of them", fault.List(e.runs))
}

// refused is the error of a program that would begin a run beside them.
func (e errOfRuns) refused() error {
	return fmt.Errorf("%w: %s, or a directory without runs for a new one; Options.RunsInside takes this one", fault.ErrInvalidCheckpoint, e.text())
}

// ofRuns returns an errOfRuns for a root without steps that seems to be no run but a
// directory of runs; see New.
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
		if o.Name == layout.RootMetadataDir && r.hasMetadata(ctx) {
			return nil
		}
	}
	runs, err := layout.RunsIn(ctx, r.store, r.dir, inside, func(name string) bool {
		_, is := stepOf(r.names, name)
		return is
	})
	if len(runs) == 0 {
		return err
	}
	return errOfRuns{runs}
}

// hasMetadata reports whether the root has the metadata of a run, or what cannot be known
// not to be that.
func (r *root) hasMetadata(ctx context.Context) bool {
	for _, name := range []string{layout.RootMetadataFile, layout.OldRootMetadataFile, layout.DigestFile} {
		if info, err := r.store.Stat(ctx, path.Join(r.dir, layout.RootMetadataDir, name)); err == nil && !info.Dir {
			return true
		}
	}
	return false
}
