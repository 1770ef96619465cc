package layout

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/storage"
)

// RunsIn looks at no more than this.
const (
	maxRuns     = 32 // directories
	maxRunSteps = 6  // steps in each: the first and the last
	maxRunItems = 8  // checkpointables in each of these
)

// RunsIn returns the names of those entries of the directory dir that are runs:
// directories, and no checkpoints, in which a directory whose name ends in a digit is a
// checkpoint of Orbax. It looks into a bounded number of entries, so that some may
// be missing; what cannot be read is none. The error is that of ctx.
//
// isStep reports which names may be those of steps in dir itself, none if it is nil. Such
// a step may be damaged: of it only checkpoints with the document CheckpointFile
// make a run, as directories of its checkpointables can be like old checkpoints.
func RunsIn(ctx context.Context, store storage.Store, dir string, entries []storage.Info, isStep func(name string) bool) (runs []string, err error) {
	looked := 0
	for _, e := range entries {
		if !e.Dir || strings.Contains(e.Name, storage.TempMarker) || strings.HasSuffix(e.Name, PartialSuffix) {
			continue
		}
		if looked++; looked > maxRuns {
			break
		}
		if isRun(ctx, store, path.Join(dir, e.Name), isStep == nil || !isStep(e.Name)) {
			runs = append(runs, e.Name)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return runs, nil
}

// isRun reports whether a directory is a run; old counts checkpoints without
// CheckpointFile as well.
func isRun(ctx context.Context, store storage.Store, dir string, old bool) bool {
	entries, err := store.List(ctx, dir)
	if err != nil {
		return false
	}
	var steps []string
	for _, e := range entries {
		switch {
		case !e.Dir && slices.Contains([]string{CheckpointFile, TreeFile, DigestFile, IndicatorFile, CommitFile}, e.Name):
			return false
		case e.Dir && endsInDigit(e.Name) && !strings.Contains(e.Name, storage.TempMarker):
			steps = append(steps, e.Name)
		}
	}
	if n := len(steps); n > maxRunSteps {
		steps = slices.Delete(steps, maxRunSteps/2, n-maxRunSteps/2)
	}
	return slices.ContainsFunc(steps, func(name string) bool { return isOrbax(ctx, store, path.Join(dir, name), old) })
}

// endsInDigit reports whether a name is like those of steps, in whatever format.
func endsInDigit(name string) bool {
	return name != "" && strings.Contains("0123456789", name[len(name)-1:])
}

// isOrbax reports whether a directory has the documents of a checkpoint of Orbax.
func isOrbax(ctx context.Context, store storage.Store, dir string, old bool) bool {
	has := func(names ...string) bool {
		info, err := store.Stat(ctx, path.Join(names...))
		return err == nil && !info.Dir
	}
	if has(dir, CheckpointFile) || old && has(dir, TreeFile) {
		return true
	}
	if !old {
		return false
	}
	items, err := store.List(ctx, dir)
	items = slices.DeleteFunc(items, func(e storage.Info) bool { return !e.Dir })
	return err == nil && slices.ContainsFunc(items[:min(len(items), maxRunItems)], func(e storage.Info) bool {
		return has(dir, e.Name, TreeFile)
	})
}
