package layout

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/storage"
)

// These bound the lookups of RunsIn.
const (
	maxRuns     = 32 // directories
	maxRunSteps = 6  // steps in each: the first and the last ones
	maxRunItems = 8  // checkpointables in each of these
)

// RunsIn returns the names of the entries of a directory that are runs. A run is a
// directory that is not a checkpoint and contains a checkpoint of Orbax in a directory
// whose name ends in a digit. RunsIn looks into a bounded number of entries, so it may
// miss some. It skips directories that it has no permission to read. If it finds no run,
// it returns any other failure to read, because the unread directory may be one.
//
// isStep reports which names may be names of steps in the directory itself; nil means none. Such a
// step may be damaged, and directories of its checkpointables can look like old
// checkpoints. In such a step only checkpoints with the document [CheckpointFile] make a
// run.
func RunsIn(ctx context.Context, at storage.Location, entries []storage.Info, isStep func(name string) bool) (runs []string, err error) {
	looked := 0
	var failed error
	for _, e := range entries {
		if !e.Dir || strings.Contains(e.Name, storage.TempMarker) || strings.HasSuffix(e.Name, PartialSuffix) {
			continue
		}
		if looked++; looked > maxRuns {
			break
		}
		is, err := isRun(ctx, at.Join(e.Name), isStep == nil || !isStep(e.Name))
		if ctx.Err() != nil {
			return nil, fault.WithCause(ctx, ctx.Err())
		}
		if is {
			runs = append(runs, e.Name)
		}
		failed = cmp.Or(failed, err)
	}
	if len(runs) > 0 {
		return runs, nil
	}
	return nil, failed
}

// isRun reports whether a directory is a run. If old is set, checkpoints without
// CheckpointFile count too.
func isRun(ctx context.Context, at storage.Location, old bool) (bool, error) {
	entries, err := at.List(ctx)
	if err != nil {
		return false, failure(err)
	}
	var steps []string
	for _, e := range entries {
		switch {
		case !e.Dir && slices.Contains([]string{CheckpointFile, TreeFile, DigestFile, IndicatorFile, CommitFile}, e.Name):
			return false, nil
		case e.Dir && EndsInDigit(e.Name) && !strings.Contains(e.Name, storage.TempMarker):
			steps = append(steps, e.Name)
		}
	}
	if n := len(steps); n > maxRunSteps {
		steps = slices.Delete(steps, maxRunSteps/2, n-maxRunSteps/2)
	}
	var failed error
	for _, name := range steps {
		is, err := isOrbax(ctx, at.Join(name), old)
		if is {
			return true, nil
		}
		failed = cmp.Or(failed, err)
	}
	return false, failed
}

// EndsInDigit reports whether a name may be that of a step, in any format.
func EndsInDigit(name string) bool {
	return name != "" && strings.Contains("0123456789", name[len(name)-1:])
}

// isOrbax reports whether a directory has the documents of a checkpoint of Orbax.
func isOrbax(ctx context.Context, at storage.Location, old bool) (bool, error) {
	entries, err := at.List(ctx)
	if err != nil {
		return false, failure(err)
	}
	var items []string
	for _, e := range entries {
		switch {
		case e.Dir:
			items = append(items, e.Name)
		case e.Name == CheckpointFile, old && e.Name == TreeFile:
			return true, nil
		}
	}
	if !old {
		return false, nil
	}
	var failed error
	for _, item := range items[:min(len(items), maxRunItems)] {
		info, err := at.Join(item, TreeFile).Stat(ctx)
		if err == nil && !info.Dir {
			return true, nil
		}
		failed = cmp.Or(failed, failure(err))
	}
	return false, failed
}

// failure returns err, or nil if err reports that nothing is there or that reading it is
// not permitted.
func failure(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}
