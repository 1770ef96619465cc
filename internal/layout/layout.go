// Package layout knows the names and JSON documents inside a checkpoint
// directory. It neither reads nor writes array data.
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
// and a pytree's directory holds _METADATA, _sharding, _strings.json,
// array_metadatas/process_0, the arrays' store, and two files of ours: go-orbax.places,
// and in the steps of a run go-orbax.chunks.
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

// Names at the root of a checkpoint.
const (
	IndicatorFile  = "orbax.checkpoint"
	CheckpointFile = "_CHECKPOINT_METADATA"
	CommitFile     = "commit_success.txt"
	DigestFile     = "digests.sha256"
	DeletionFile   = "_CHECKPOINT_DELETION"
	// PartsFile is ours: which partial saves a checkpoint was made of. Orbax ignores it.
	PartsFile = "partial_save.json"
	// HandlersFile is ours, where a handler may write files of any name: the handlers
	// of the checkpoint, before they have written anything. Of a save that dies it
	// says whose the files are. Orbax ignores it.
	HandlersFile = "go-orbax.handlers"
)

// Names inside a pytree's directory.
const (
	TreeFile     = "_METADATA"
	ShardingFile = "_sharding"
	StringsFile  = "_strings.json"
	// AggregateFile has the leaves that Orbax was told to aggregate, until 2024, in
	// MessagePack: of the oldest checkpoints the whole tree.
	AggregateFile = "checkpoint"
	// ManifestFile is the one of an OCDBT database, ocdbt.ManifestName.
	ManifestFile = "manifest.ocdbt"
	ArrayFile    = "array_metadatas/process_0"
	DataDir      = "d"
	// ChunksFile is ours, of the saves of a run: which content the chunks in the
	// data files have. Orbax ignores it.
	ChunksFile = "go-orbax.chunks"
	// ChunksHeader begins that file. The number of its form follows.
	ChunksHeader = "go-orbax chunks "
	// PlacesFile is ours: which chunk belongs in which place. Where several saves made the
	// pytree, each has left one, whose name is PlacesPrefix and letters and digits. Orbax
	// ignores them.
	PlacesFile   = "go-orbax.places"
	PlacesPrefix = PlacesFile + "."
	// PlacesHeader begins these files. The number of their form follows.
	PlacesHeader = "go-orbax places "
	// ProcessPrefix begins the names of the databases of single processes:
	// ocdbt.process_<id>, or with Orbax's enable_replica_parallel_separate_folder
	// ocdbt.process_replica_<id>.
	ProcessPrefix = "ocdbt.process_"
)

// MaxInline is how many bytes the longest value has that lies in a database's tree itself, where
// its checksum covers it. It is Orbax's limit.
const MaxInline = 1024

// IsPlaces reports whether a pytree's file called name says which chunk belongs where.
func IsPlaces(name string) bool { return name == PlacesFile || strings.HasPrefix(name, PlacesPrefix) }

// Absolute returns a path that leads to the same place when the program changes its
// working directory: one with a scheme does already.
func Absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil && path != "" && !strings.Contains(path, "://") {
		return abs
	}
	return path // using it says what is wrong with it
}

// MetricsName is the directory of a step's metrics, which are no checkpointable, and
// the document in it.
const MetricsName = "metrics"

// NotebookDir is where a notebook server keeps copies of the files that were opened
// in it: no part of what it is in.
const NotebookDir = ".ipynb_checkpoints"

// PartialSuffix ends the name of the directory of a session of partial saves.
const PartialSuffix = ".partial_save"

// PendingMark is in the names of Orbax's parts of a session:
// <session>.pending_<time in ns>_<uuid in hex>.
const PendingMark = ".pending_"

// RootMetadataDir is the directory of the metadata of a run, in the run's, and
// RootMetadataFile the document in it. Old versions of Orbax call the document
// OldRootMetadataFile.
const (
	RootMetadataDir     = "metadata"
	RootMetadataFile    = "_ROOT_METADATA"
	OldRootMetadataFile = "metadata"
)

// ProtoFile is the document of a protocol buffer.
const ProtoFile = "proto.pbtxt"

// DescriptorName is a checkpointable that old versions of Orbax added by themselves, to
// say what the checkpoint is for.
const DescriptorName = "descriptor"

// DefaultName is the checkpointable that Save writes and Load prefers.
const DefaultName = "state"

// reserved are names that Orbax or this package uses at a checkpoint's root,
// or that Orbax treats in a special way.
// Their values say for what.
var reserved = map[string]string{
	IndicatorFile: ofFile, CheckpointFile: ofFile, CommitFile: ofFile, DigestFile: ofFile,
	DeletionFile: ofFile, HandlersFile: ofFile, TreeFile: ofFile,
	MetricsName: "the metrics of a step, which belong to the step and are deleted with it",
	"AUTO":      "the checkpointable that it chooses itself",
}

const ofFile = "a file of each checkpoint"

// CheckName refuses a checkpointable's name that cannot be a directory of its
// own at the root of a checkpoint, on any system.
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

// Enclosing returns the checkpoint that dir is inside of, or "". A look that fails is
// no answer, but an error, except where what is above dir may not be looked at.
func Enclosing(ctx context.Context, store storage.Store, dir string) (string, error) {
	for up := path.Dir(dir); up != path.Dir(up); up = path.Dir(up) {
		for _, marker := range []string{CheckpointFile, IndicatorFile} {
			info, err := store.Stat(ctx, path.Join(up, marker))
			switch {
			case err == nil && !info.Dir:
				return up, nil
			case err == nil, errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrPermission):
			default:
				return "", err
			}
		}
	}
	return "", nil
}
