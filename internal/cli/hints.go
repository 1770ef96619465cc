package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/inspect"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// noStoreHint is for paths such as gs://bucket/m in a program without the store.
func noStoreHint(given string) string {
	switch scheme, _, _ := strings.Cut(given, "://"); strings.ToLower(scheme) {
	case "gs", "s3", "azblob", "https":
		return "the orbax of storage/cloud/cmd/orbax opens paths in object stores"
	}
	return "copy the checkpoint to a disk first, or write to a disk and copy the result"
}

// leavesHint is the advice about a leaf that does not exist.
const leavesHint = "`orbax ls` lists the leaves"

// hintOf returns advice about err, or "".
func (c Config) hintOf(ctx context.Context, err error) string {
	var ours hinted
	if errors.As(err, &ours) {
		return ours.hint
	}
	if h, ok := inspect.HintOf(err); ok {
		return hintText(h)
	}
	switch fault.RemedyOf(err) {
	case fault.Flat:
		return "--flat keeps the names whole"
	case fault.Select:
		return "nothing was written; --select leaves such arrays out; --select with --dtype makes a file of such integers or floats alone"
	}
	var lib *orbax.Error
	if !errors.As(err, &lib) {
		if fault.RemedyOf(err) == fault.Overwrite { // of convert, the only verb that writes to a new path
			return "--overwrite replaces it"
		}
		return ""
	}
	follows, _ := flagOf(ctx, followName)
	fills, _ := flagOf(ctx, fillName)
	switch remedy := fault.RemedyOf(err); {
	case remedy == fault.FollowLinks && follows:
		return "--follow-links follows such links; use it only for a checkpoint that you trust"
	case remedy == fault.FillMissing && fills:
		return "--fill-missing gives missing chunks the fill value, as zarr does"
	case remedy == fault.Repair:
		return "nothing is lost, but Orbax in Python cannot load it without the index; see " + repairCommand(ctx, lib.Path)
	case remedy == fault.Finish:
		return finishHint(ctx, lib.Path)
	case remedy == fault.Wait:
		return "wait and try again; if that writer has died, " + command("repair", "--apply", lib.Path) + " or the next save to the path finishes or undoes its work once the claim has ended"
	case remedy == fault.Delete:
		return command("rm", lib.Path) + " removes it"
	}
	if errors.Is(err, fault.ErrNoMatch) {
		return leavesHint
	}
	at, placeErr := c.locate(ctx, lib.Path)
	if placeErr != nil {
		if layout.IsURL(lib.Path) && errors.Is(err, orbax.ErrUnsupported) && errors.Is(placeErr, orbax.ErrUnsupported) {
			return noStoreHint(lib.Path)
		}
		return ""
	}
	session := strings.HasSuffix(at.Name, layout.PartialSuffix)
	switch {
	case errors.Is(err, orbax.ErrIncomplete) && strings.Contains(path.Base(at.Name), storage.TempMarker):
		return "the save into it is still running, or was killed; a complete checkpoint has the name without that ending"
	case errors.Is(err, orbax.ErrIncomplete) && session && lib.Op == "delete":
		return command("partial", "abort", lib.Path) + " removes it with all its parts"
	case errors.Is(err, orbax.ErrIncomplete) && session:
		return command("partial", "finalize", lib.Path) + " makes the checkpoint of its parts"
	case errors.Is(err, orbax.ErrNotExist) && !damaged(err):
		return c.absentHint(ctx, lib.Path, at, lib.Op == "delete")
	case errors.Is(err, orbax.ErrInvalidCheckpoint) && lib.Op != "delete" && lib.Op != "save":
		return cmp.Or(c.newestHint(ctx, at), insideHint(ctx, lib.Path, at))
	}
	return ""
}

// finishHint is the advice about a path at which a dead writer has left its work.
func finishHint(ctx context.Context, path string) string {
	return command("repair", "--apply", path) + " finishes that, and so does the next save to the path"
}

// absentHint returns the advice for a path where nothing is. For a removal it proposes no
// other path.
func (c Config) absentHint(ctx context.Context, path string, at storage.Location, removal bool) string {
	if _, err := at.Stat(ctx); err == nil {
		return "" // something in it does not exist
	}
	if info, err := at.Store.Stat(ctx, at.Name+layout.PartialSuffix); err == nil && info.Dir {
		return command("partial", "finalize", path) + " makes the checkpoint of its session's parts"
	}
	if near := closestPath(ctx, at, mayBeCheckpoint); near != "" && !removal {
		return "did you mean " + fault.Shown(near) + "?"
	}
	return c.besideHint(ctx, at, removal)
}

// hintText puts a hint into the words of the command line.
func hintText(h inspect.Hint) string {
	names := fault.List(h.Names)
	switch h.Kind {
	case inspect.SimilarLeaves:
		return "did you mean " + names + "?"
	case inspect.AnyLeaf:
		return leavesHint
	case inspect.LeavesBelow:
		return "such as " + names + "; `orbax ls` lists all"
	case inspect.OtherHasLeaf:
		return fmt.Sprintf("checkpointable %s has one: --name %s", names, shellWord(h.Names[0]))
	case inspect.SimilarName:
		return "did you mean --name " + shellWord(h.Names[0]) + "?"
	case inspect.ExistingNames:
		return "--name takes one of these: " + names
	case inspect.OnlyItself:
		return "leave out --name"
	case inspect.PrintsDocument:
		return command("cat", h.Checkpoint, h.Names[0]) + " prints it"
	case inspect.PrintsMetrics:
		return command("cat", h.Checkpoint, h.Names[0]) + " prints the metrics"
	case inspect.OfCheckpoint:
		return "give the checkpoint's path: " + fault.Shown(h.Checkpoint)
	case inspect.NotRaw:
		return "leave out --raw"
	case inspect.NoPreview:
		return "--all prints every element, --raw writes the bytes"
	case inspect.NeedsTemporary:
		return fmt.Sprintf("the leaf passes through a temporary file; set TMPDIR to a directory with %s of room", fault.Size(h.Bytes))
	}
	return ""
}
