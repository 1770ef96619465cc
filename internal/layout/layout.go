// Package layout knows the names and JSON documents inside a checkpoint directory. It
// neither reads nor writes array data.
//
// A checkpoint in the layout of Orbax v1 is
//
//	<checkpoint>/
//	  orbax.checkpoint            empty; marks the layout
//	  _CHECKPOINT_METADATA        handlers, times, custom metadata
//	  commit_success.txt          the commit mark of object stores
//	  <checkpointable>/           one directory each, owned by its handler
//	  metrics/metrics             JSON, in the steps of a run of training
//	  digests.sha256              ours; covers every document
//	  go-orbax.handlers           ours; the handlers, if one may write any files
//
// A pytree's directory holds _METADATA, _sharding, _strings.json,
// array_metadatas/process_0, the arrays' store, and two files of this package:
// go-orbax.places, and in the steps of a run go-orbax.chunks.
package layout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// These are the names at the root of a checkpoint.
const (
	IndicatorFile  = "orbax.checkpoint"
	CheckpointFile = "_CHECKPOINT_METADATA"
	CommitFile     = "commit_success.txt"
	DigestFile     = "digests.sha256"
	DeletionFile   = "_CHECKPOINT_DELETION"
	// PartsFile is this package's list of the partial saves that a checkpoint consists
	// of. Orbax ignores it.
	PartsFile = "partial_save.json"
	// HandlersFile is this package's list of the handlers of the checkpoint, if a handler
	// may write files of any name. It is written before the handlers write anything. If
	// the save dies, it shows to which save the files belong. Orbax ignores it.
	HandlersFile = "go-orbax.handlers"
)

// These are the names inside a pytree's directory.
const (
	TreeFile     = "_METADATA"
	ShardingFile = "_sharding"
	StringsFile  = "_strings.json"
	// AggregateFile holds the leaves that a program asked Orbax to aggregate, until 2024,
	// in MessagePack. In the oldest checkpoints it holds the whole tree.
	AggregateFile = "checkpoint"
	// ManifestFile is the manifest of an OCDBT database, ocdbt.ManifestName.
	ManifestFile = "manifest.ocdbt"
	ArrayFile    = "array_metadatas/process_0"
	DataDir      = "d"
	// ChunksFile is this package's record of the content of the chunks in the data files,
	// in the saves of a run. Orbax ignores it.
	ChunksFile = "go-orbax.chunks"
	// ChunksHeader begins that file. The number of its form follows.
	ChunksHeader = "go-orbax chunks "
	// PlacesFile is this package's record of which chunk belongs in which place. If
	// several saves made the pytree, each has its own record, whose name is
	// [PlacesPrefix] and letters and digits. Orbax ignores them.
	PlacesFile   = "go-orbax.places"
	PlacesPrefix = PlacesFile + "."
	// ProcessRecord and a number begin the name of the record of what one of several
	// processes has written of a pytree. Process 0 needs it until the checkpoint is
	// committed.
	ProcessRecord = ofThisPackage + "process_"
	// ProcessHeader begins such a record. The number of its form follows.
	ProcessHeader = "go-orbax process "
	// PlacesHeader begins these files. The number of their form follows.
	PlacesHeader = "go-orbax places "
	// ProcessPrefix begins the names of the databases of single processes:
	// ocdbt.process_<id>, or with Orbax's enable_replica_parallel_separate_folder
	// ocdbt.process_replica_<id>.
	ProcessPrefix = "ocdbt.process_"
)

// MaxInline is the length of the longest value that a database's tree itself holds, where
// its checksum covers the value. It is Orbax's limit.
const MaxInline = 1024

// IsProcessRecord reports whether a pytree's file called name is the record of a process.
func IsProcessRecord(name string) bool { return strings.HasPrefix(name, ProcessRecord) }

// IsPlaces reports whether a pytree's file called name records which chunk belongs where.
func IsPlaces(name string) bool { return name == PlacesFile || strings.HasPrefix(name, PlacesPrefix) }

// IsURL reports whether a path has a scheme.
func IsURL(path string) bool { return strings.Contains(path, "://") }

// Absolute returns a path that still leads to the same place after the program changes
// its working directory. A path with a scheme stays as it is.
func Absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil && path != "" && !IsURL(path) {
		return abs
	}
	return path // using the path reports the error
}

// MetricsName is the name of the directory of a step's metrics, and of the document in
// it. Metrics are not a checkpointable.
const MetricsName = "metrics"

// NotebookDir is the directory in which a notebook server keeps copies of files that were
// opened. It is not part of the directory that contains it.
const NotebookDir = ".ipynb_checkpoints"

// PartialSuffix ends the name of the directory of a session of partial saves.
const PartialSuffix = ".partial_save"

// PendingMark occurs in the names of Orbax's parts of a session: <session>.pending_<time
// in ns>_<uuid in hex>.
const PendingMark = ".pending_"

// RootMetadataDir is the directory of a run's metadata, in the run's directory, and
// [RootMetadataFile] is the document in it. Old versions of Orbax call the document
// OldRootMetadataFile.
const (
	RootMetadataDir     = "metadata"
	RootMetadataFile    = "_ROOT_METADATA"
	OldRootMetadataFile = "metadata"
)

// ProtoFile is the document of a protocol buffer.
const ProtoFile = "proto.pbtxt"

// DescriptorName is a checkpointable that old versions of Orbax added without being
// asked, to describe the purpose of the checkpoint.
const DescriptorName = "descriptor"

// DefaultName is the checkpointable that Save writes and Load prefers.
const DefaultName = "state"

// reserved maps names to their use. Orbax or this package uses them at a checkpoint's
// root, or Orbax treats them in a special way.
var reserved = map[string]string{
	IndicatorFile: ofFile, CheckpointFile: ofFile, CommitFile: ofFile, DigestFile: ofFile,
	DeletionFile: ofFile, HandlersFile: ofFile, TreeFile: ofFile,
	MetricsName: "the metrics of a step, which belong to the step and are deleted with it",
	"AUTO":      "the checkpointable that it chooses itself",
}

const ofFile = "a file of each checkpoint"

// CheckName refuses a checkpointable's name that cannot be the name of a directory at the
// root of a checkpoint, on any system.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: the empty checkpointable name", fault.ErrReservedName)
	case reserved[name] != "":
		return fmt.Errorf("%w: checkpointable %q: Orbax gives that name to %s", fault.ErrReservedName, name, reserved[name])
	case name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00") || !utf8.ValidString(name) || len(name) > 255:
		return fmt.Errorf("%w: checkpointable %q is not the name of one directory", fault.ErrReservedName, name)
	case strings.Contains(name, storage.TempMarker):
		return fmt.Errorf("%w: checkpointable %q looks like an unfinished directory", fault.ErrReservedName, name)
	}
	return nil
}

// CheckNewName is [CheckName] for a checkpointable that is saved. It also refuses the name
// of a session of partial saves: by its path the checkpointable would be taken for one.
func CheckNewName(name string) error {
	if strings.HasSuffix(name, PartialSuffix) || IsPending(name) {
		return fmt.Errorf("%w: checkpointable %q has the name of a session of partial saves", fault.ErrReservedName, name)
	}
	return CheckName(name)
}

// Enclosing returns the checkpoint that contains at; inside is false if there is none. It
// returns an error if it cannot look, except in directories above at that the process has
// no permission to read.
func Enclosing(ctx context.Context, at storage.Location) (outer storage.Location, inside bool, err error) {
	for up := at.Dir(); up.Name != path.Dir(up.Name); up = up.Dir() {
		for _, marker := range []string{CheckpointFile, IndicatorFile} {
			info, err := up.Join(marker).Stat(ctx)
			switch {
			case err == nil && !info.Dir:
				return up, true, nil
			case err == nil, errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrPermission):
			default:
				return storage.Location{}, false, err
			}
		}
	}
	return storage.Location{}, false, nil
}
