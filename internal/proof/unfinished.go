package proof

import (
	"path"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// isUnfinished reports whether a save by marker was killed in a checkpoint with these
// entries at its root. Any of its files may then be missing or cut short. In a store in
// which every checkpoint has a marker, it may also be a deletion that was killed.
func (r *rootDocs) isUnfinished(can storage.Properties, entries []storage.Entry) bool {
	has := func(name string) bool {
		return slices.ContainsFunc(entries, func(e storage.Entry) bool { return e.Name == name && isFile(e) })
	}
	switch {
	case has(layout.CommitFile):
		return false
	case can.NeedsMarker():
		return true
	case has(layout.DigestFile):
		return false
	case has(layout.CheckpointFile):
		return r.uncommitted
	}
	return has(layout.IndicatorFile)
}

// lockSuffix ends the names of files that TensorStore writes before it gives them their
// final names. It may leave them if it is killed.
const lockSuffix = ".__lock"

// isLock reports whether an entry is such a file for a document of a tree.
func isLock(e storage.Entry) bool {
	name, ok := strings.CutSuffix(e.Name, lockSuffix)
	return ok && e.Type.IsRegular() && isTreeFile(name)
}

// takeLocks takes the files in the directory dir that still have a lockSuffix, and
// returns the other entries.
func (w *walk) takeLocks(dir string, entries []storage.Entry) []storage.Entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e storage.Entry) bool {
		if !isLock(e) {
			return false
		}
		w.take(path.Join(dir, e.Name), e)
		return true
	})
}
