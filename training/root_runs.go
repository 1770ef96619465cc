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

// errOfRuns is what a directory of runs is refused with.
type errOfRuns struct{ error }

func (e errOfRuns) Unwrap() error { return e.error }

// ofRuns returns an error for a root without steps that is no run but a directory of runs;
// see New. A save to it would begin a run beside them.
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
	switch len(runs) {
	case 0:
		return err
	case 1:
		return errOfRuns{fmt.Errorf("%w: there are no steps, and its entry %s is a run; give that, or a directory without runs for a new one",
			fault.ErrInvalidCheckpoint, fault.List(runs))}
	}
	return errOfRuns{fmt.Errorf("%w: there are no steps, and its entries %s are runs; give one of them, or a directory without runs for a new one",
		fault.ErrInvalidCheckpoint, fault.List(runs))}
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
