package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/inspect"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// stepsIn returns the names in a directory that may be those of steps, in the order of
// their numbers. It returns none if the newest is not a checkpoint.
func (c Config) stepsIn(ctx context.Context, dir storage.Location) []string {
	entries, err := dir.List(ctx)
	if err != nil {
		return nil
	}
	var steps []string
	for _, e := range entries {
		if _, ok := inspect.StepNumber(e.Name); ok && mayBeCheckpoint(e) {
			steps = append(steps, e.Name)
		}
	}
	inspect.SortSteps(steps)
	if len(steps) == 0 {
		return nil
	}
	c.Store = dir.Store
	if is, err := orbax.IsCheckpoint(ctx, dir.Join(steps[len(steps)-1]).Name, c.inspector(ctx, false).Opening()...); err != nil || !is {
		return nil
	}
	return steps
}

// besideHint says which steps are in the directory of a path where nothing is, or returns
// "". For a removal it proposes none.
func (c Config) besideHint(ctx context.Context, at storage.Location, removal bool) string {
	dir := at.Dir()
	steps := c.stepsIn(ctx, dir)
	hint := ""
	switch n := len(steps); {
	case n == 0:
		return ""
	case n == 1:
		hint = "the only step there is " + fault.Shown(steps[0])
	case n <= fault.MaxListed:
		hint = "the steps there are " + fault.List(steps)
	default:
		hint = fmt.Sprintf("%d steps are there, from %s to %s", n, fault.Shown(steps[0]), fault.Shown(steps[n-1]))
	}
	if removal || len(steps) == 1 {
		return hint
	}
	return hint + "; the newest is " + fault.Shown(dir.Join(steps[len(steps)-1]).String())
}

// newestHint says which step of the run at a location is the newest, or returns "".
func (c Config) newestHint(ctx context.Context, at storage.Location) string {
	steps := c.stepsIn(ctx, at)
	if len(steps) == 0 {
		return ""
	}
	return "the newest is " + fault.Shown(at.Join(steps[len(steps)-1]).String())
}

// insideHint says which other verb is for a directory that is not a checkpoint, at the
// given path. It returns "" if there is no such verb.
func insideHint(ctx context.Context, given string, at storage.Location) string {
	entries, err := at.List(ctx)
	if err != nil {
		return ""
	}
	for _, e := range entries {
		if e.Name != layout.PartialSuffix && strings.HasSuffix(e.Name, layout.PartialSuffix) {
			return command("partial", "ls", given) + " lists the sessions of partial saves in it"
		}
	}
	if at.Base() == layout.RootMetadataDir {
		if _, err := at.Join(layout.RootMetadataFile).Stat(ctx); err == nil {
			return command("ls", at.Dir().String()) + " prints the metadata of the run"
		}
	}
	return ""
}
