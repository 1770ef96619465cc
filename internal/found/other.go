package found

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/pytree"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/safetensors"
	"github.com/go-orbax/orbax/storage"
)

// lookOther recognises a directory without the document _CHECKPOINT_METADATA. Old
// versions of Orbax and other programs do not write that document. live is the directory in
// the store itself.
func lookOther(ctx context.Context, at, live storage.Location, entries []storage.Info) (*Found, error) {
	f, err := lookBare(ctx, at, entries)
	if isOpen(at, entries) {
		return lookUnmarked(ctx, live, f, err)
	}
	if f != nil && err == nil {
		if err := checkAround(ctx, at); err != nil {
			return nil, err
		}
	}
	return f, err
}

// lookBare is lookOther without the look for the marker.
func lookBare(ctx context.Context, at storage.Location, entries []storage.Info) (*Found, error) {
	has := func(name string) bool { return hasFile(entries, name) }
	switch {
	case has(layout.DigestFile) && hasDigests(ctx, at), has(layout.IndicatorFile):
		return nil, NotCheckpoint(ctx, at) // a checkpoint that has lost its metadata
	case has(layout.TreeFile):
		f := only(Tree, at)
		if has(ocdbt.ManifestName) { // it differs even if the tree is the same
			return f, f.watch(ctx, ocdbt.ManifestName, entries)
		}
		return f, f.watch(ctx, layout.TreeFile, entries)
	}
	aggregate, err := pytree.HasAggregate(ctx, at)
	if err != nil {
		return nil, err
	}
	if aggregate { // old versions wrote no other metadata
		return only(Tree, at), nil
	}
	if isKey, err := pytree.IsRandomKey(ctx, at); err != nil {
		return nil, err
	} else if isKey {
		return only(Key, at), nil
	}
	if slices.ContainsFunc(entries, ofTree) {
		return nil, fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, layout.TreeFile)
	}
	for _, mark := range storeMarks {
		if has(mark) {
			f := only(Arrays, at)
			return f, f.watch(ctx, mark, entries)
		}
	}
	for _, e := range entries {
		if e.Dir && strings.HasPrefix(e.Name, layout.ProcessPrefix) {
			return only(Arrays, at), nil
		}
		if !e.Dir && path.Ext(e.Name) == safetensors.Ext {
			if len(checkpointsIn(ctx, at, entries)) > 0 { // an export next to the steps of a run
				return nil, NotCheckpoint(ctx, at)
			}
			return only(Tensors, at), nil
		}
	}
	if holdsArrays(ctx, at, entries) {
		return only(Arrays, at), nil
	}
	if names := oldParts(ctx, at, entries); len(names) > 0 {
		f := only(OldComposite, at)
		f.Names = names
		return f, nil
	}
	return nil, NotCheckpoint(ctx, at)
}

// ofTree reports whether an entry is one that only Orbax writes next to a tree's arrays.
// If the tree's metadata is lost, such an entry prevents loading a tree of other leaves.
func ofTree(e storage.Info) bool {
	switch e.Name {
	case layout.CommitFile, layout.ShardingFile, layout.StringsFile:
		return !e.Dir
	case path.Dir(layout.ArrayFile):
		return e.Dir
	}
	return false
}

// holdsArrays reports whether one of the directories in dir is a zarr array.
func holdsArrays(ctx context.Context, at storage.Location, entries []storage.Info) bool {
	for _, e := range entries {
		for _, doc := range []string{".zarray", "zarr.json"} {
			if !e.Dir || IsTemporary(e.Name) {
				continue
			}
			if _, err := at.Join(e.Name, doc).Stat(ctx); err == nil {
				return true
			}
		}
	}
	return false
}

// storeMarks are files that identify a store of arrays without metadata of a tree.
var storeMarks = []string{ocdbt.ManifestName, "zarr.json", ".zarray", ".zgroup", ".zmetadata"}

// only returns a checkpoint of one kind without metadata of the checkpoint.
func only(kind Kind, at storage.Location) *Found {
	return &Found{Kind: kind, At: at, Meta: &layout.CheckpointMetadata{Handlers: map[string]string{}}}
}

// oldParts returns the items of a checkpoint that Orbax wrote without metadata of the
// whole. At least one of them is a pytree. Numbers, and names that end in one, are steps
// of a run and not items.
func oldParts(ctx context.Context, at storage.Location, entries []storage.Info) (names []string) {
	trees := false
	for _, e := range entries {
		if !e.Dir || IsTemporary(e.Name) || layout.CheckName(e.Name) != nil || e.Name == layout.NotebookDir {
			continue
		}
		last := e.Name[strings.LastIndexByte(e.Name, '_')+1:]
		if last != "" && strings.Trim(last, "0123456789") == "" {
			return nil
		}
		if _, err := at.Join(e.Name, layout.CheckpointFile).Stat(ctx); err == nil {
			return nil // a checkpoint itself
		}
		tree, err := treeIn(ctx, at.Join(e.Name))
		trees = trees || err == nil && tree
		names = append(names, e.Name)
	}
	if !trees {
		return nil
	}
	return names
}

// treeIn reports whether a directory is the directory of a pytree: it has the metadata of
// one, or the files that old versions of Orbax wrote instead.
func treeIn(ctx context.Context, at storage.Location) (bool, error) {
	_, err := at.Join(layout.TreeFile).Stat(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return pytree.HasAggregate(ctx, at)
	}
	return err == nil, err
}
