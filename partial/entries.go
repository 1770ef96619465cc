package partial

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// parsePart recognises the directory of a part by its name.
func parsePart(info storage.Info) (part, bool) {
	const mark = layout.PartialSuffix + layout.PendingMark
	at := strings.LastIndex(info.Name, mark) // the checkpoint's name may contain the mark too
	if at < 0 || !info.Dir {
		return part{}, false
	}
	when, id, _ := strings.Cut(info.Name[at+len(mark):], "_")
	saved, err := strconv.ParseInt(when, 10, 64)
	if _, herr := hex.DecodeString(id); err != nil || herr != nil || id == "" {
		return part{}, false
	}
	return part{name: info.Name, id: id, saved: saved}, true
}

// isTemporary reports whether a name marks an unfinished directory.
func isTemporary(name string) bool {
	temporary, _ := storage.IsTemporary(name)
	return temporary
}

// isRootEntry reports whether an entry belongs at the root of a checkpoint of one pytree.
func isRootEntry(info storage.Info) bool {
	switch info.Name {
	case layout.IndicatorFile, layout.CheckpointFile, layout.CommitFile:
		return !info.Dir
	case layout.DefaultName:
		return info.Dir
	}
	return !info.Dir && isDigestFile(info.Name)
}

// digestFile returns the name of the digest file of a part. Orbax moves the files of all
// parts into one directory, so no two parts may have files of the same name.
func digestFile(id string) string { return "digests." + id + ".sha256" }

func isDigestFile(name string) bool {
	return strings.HasPrefix(name, "digests.") && strings.HasSuffix(name, ".sha256")
}
