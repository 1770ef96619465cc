package found

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/flax"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/safetensors"
	"github.com/go-orbax/orbax/storage"
)

// indexSuffix ends the name of the document that says which of several safetensors files
// has which tensor.
const indexSuffix = safetensors.Ext + ".index.json"

// holdsReadable returns an error that names the readable entries of a directory that is
// not a checkpoint, or nil if it finds none among the entries that it looks at.
func holdsReadable(ctx context.Context, at storage.Location, entries []storage.Info) error {
	runs, err := layout.RunsIn(ctx, at, entries, nil)
	switch {
	case err != nil:
		return err
	case len(runs) == 1:
		return fmt.Errorf("%w: its entry %s is a run; give that path", fault.ErrInvalidCheckpoint, fault.List(runs))
	case len(runs) > 1:
		return fmt.Errorf("%w: its entries %s are runs; give the path of one", fault.ErrInvalidCheckpoint, fault.List(runs))
	}
	switch found := readableIn(ctx, at, entries); len(found) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("%w: its entry %s can be read; give that path", fault.ErrInvalidCheckpoint, fault.List(found))
	default:
		return fmt.Errorf("%w: its entries %s can be read; give the path of one", fault.ErrInvalidCheckpoint, fault.List(found))
	}
}

// readableIn returns the names of the entries that are files of Flax, stores of arrays,
// directories of arrays or of safetensors files, or runs of the oldest releases of Orbax.
func readableIn(ctx context.Context, at storage.Location, entries []storage.Info) (names []string) {
	for _, e := range entries[:min(len(entries), maxOldLooks)] {
		entry := at.Join(e.Name)
		switch {
		case IsTemporary(e.Name) || IsSession(e.Name):
		case !e.Dir:
			if flax.IsFile(ctx, entry) {
				names = append(names, e.Name)
			}
		case holdsStore(ctx, entry):
			names = append(names, e.Name)
		}
	}
	return names
}

// maxInner bounds the number of directories of an entry that are looked into.
const maxInner = 3

// holdsStore reports whether a directory has a file that identifies a store of arrays, or
// directories that are arrays or old checkpoints.
func holdsStore(ctx context.Context, at storage.Location) bool {
	entries, err := at.List(ctx)
	if err != nil {
		return false
	}
	if slices.ContainsFunc(entries, func(e storage.Info) bool {
		return !e.Dir && (slices.Contains(storeMarks, e.Name) || path.Ext(e.Name) == safetensors.Ext)
	}) {
		return true
	}
	inner := slices.DeleteFunc(entries, func(e storage.Info) bool { return !e.Dir })
	inner = inner[:min(len(inner), maxInner)]
	return holdsArrays(ctx, at, inner) || len(oldCheckpointsIn(ctx, at, inner)) > 0
}

// noFile returns the error about a file that is not a checkpoint.
func noFile(name string) error {
	if strings.HasSuffix(name, indexSuffix) {
		return fmt.Errorf("%w: it is the index of files of safetensors; give the path of their directory", fault.ErrInvalidCheckpoint)
	}
	return fmt.Errorf("%w: it is a file, and none of Flax or safetensors", fault.ErrInvalidCheckpoint)
}
