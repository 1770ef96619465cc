package layout

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// ofThisPackage begins the names of the files with which this package adds to a pytree or
// a checkpoint.
const ofThisPackage = "go-orbax."

// IsTreeFile reports whether name is the name of a document that only a pytree has.
func IsTreeFile(name string) bool {
	switch name {
	case TreeFile, ShardingFile, StringsFile, ChunksFile:
		return true
	}
	return IsPlaces(name) || IsProcessRecord(name) || IsManifest(name)
}

// IsManifest reports whether name is the name of the manifest of a database, or of one of
// its numbered manifests.
func IsManifest(name string) bool {
	if name == ManifestFile {
		return true
	}
	number, ok := strings.CutPrefix(name, "manifest.")
	return ok && len(number) == 16 && isHex(number)
}

// IsDigestFile reports whether name is the name of the digests of a checkpoint, or of a
// part of a session.
func IsDigestFile(name string) bool { return name == DigestFile || IsPartDigestFile(name) }

// IsPartDigestFile reports whether name is the name of the digests of a part of a session.
func IsPartDigestFile(name string) bool {
	id, ok := strings.CutPrefix(name, "digests.")
	id, sum := strings.CutSuffix(id, ".sha256")
	return ok && sum && isHex(id)
}

func isHex(s string) bool { return s != "" && strings.Trim(s, "0123456789abcdef") == "" }

// CheckFile refuses the name of a file that a handler writes, relative to the directory of
// its checkpointable. A directory with one of these names in it would be taken for another
// checkpoint, or for an unfinished one. inTree says that the checkpointable is a pytree.
// Any other must not have the names by which a pytree is recognised.
func CheckFile(name string, inTree bool) error {
	if !fs.ValidPath(name) {
		return fmt.Errorf("%w: file %q", fault.ErrReservedName, name)
	}
	for element := range strings.SplitSeq(name, "/") {
		switch {
		case element == IndicatorFile, element == CheckpointFile, element == DeletionFile, IsDigestFile(element):
			return fmt.Errorf("%w: file %q: %s is a file of each checkpoint", fault.ErrReservedName, name, element)
		case strings.Contains(element, storage.TempMarker):
			return fmt.Errorf("%w: file %q: %s looks like an unfinished directory", fault.ErrReservedName, name, element)
		}
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if base := path.Base(dir); strings.HasSuffix(base, PartialSuffix) || IsPending(base) {
			return fmt.Errorf("%w: file %q: %s is the name of a session of partial saves", fault.ErrReservedName, name, base)
		}
	}
	switch first, _, _ := strings.Cut(name, "/"); {
	case inTree:
	case IsTreeFile(first), first == DataDir, first == path.Dir(ArrayFile), strings.HasPrefix(first, ProcessPrefix), strings.HasPrefix(first, ofThisPackage):
		return fmt.Errorf("%w: file %q: only a pytree has %s; give it another name, or put it into a directory", fault.ErrReservedName, name, first)
	case first == CommitFile:
		return fmt.Errorf("%w: file %q: %s commits the checkpointable; give it another name, or put it into a directory", fault.ErrReservedName, name, first)
	}
	return nil
}

// IsPending reports whether name is the name of a part of a session of partial saves:
// <session>.pending_<time in ns>_<hexadecimal digits>.
func IsPending(name string) bool {
	at := strings.LastIndex(name, PartialSuffix+PendingMark)
	if at < 0 {
		return false
	}
	when, id, cut := strings.Cut(name[at+len(PartialSuffix+PendingMark):], "_")
	return cut && when != "" && strings.Trim(when, "0123456789") == "" && isHex(id)
}
