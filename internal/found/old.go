package found

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/flax"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// maxOldLooks bounds the number of entries of a directory that are looked at.
const maxOldLooks = 100

// oldCheckpointsIn returns the names of the entries of dir that are checkpoints of Flax
// or of releases of Orbax that wrote no document at the root: files, trees and
// directories of trees.
func oldCheckpointsIn(ctx context.Context, at storage.Location, entries []storage.Info) (names []string) {
	has := func(name string) bool {
		found, err := treeIn(ctx, at.Join(name))
		return err == nil && found
	}
	for _, e := range entries[:min(len(entries), maxOldLooks)] {
		switch {
		case IsTemporary(e.Name) || IsSession(e.Name):
		case !e.Dir:
			if strings.HasPrefix(e.Name, layout.AggregateFile) && flax.IsFile(ctx, at.Join(e.Name)) {
				names = append(names, e.Name)
			}
		case has(e.Name):
			names = append(names, e.Name)
		default:
			items, err := at.Join(e.Name).List(ctx)
			if err == nil && slices.ContainsFunc(items[:min(len(items), maxOldLooks)], func(i storage.Info) bool {
				return i.Dir && has(path.Join(e.Name, i.Name))
			}) {
				names = append(names, e.Name)
			}
		}
	}
	return names
}
