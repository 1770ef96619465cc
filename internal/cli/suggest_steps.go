package cli

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/inspect"
	"github.com/go-orbax/orbax/internal/layout"
)

// stepsIn returns the names in a directory that may be those of steps, in the order of their
// numbers; none if the newest is no checkpoint. Text is the directory's path for people.
func stepsIn(dir place) []string {
	ctx := context.Background()
	entries, err := dir.store.List(ctx, dir.name)
	if err != nil {
		return nil
	}
	var steps []string
	for _, e := range entries {
		if _, ok := inspect.StepNumber(e.Name); ok && mayBeCheckpoint(e) {
			steps = append(steps, e.Name)
		}
	}
	slices.SortStableFunc(steps, func(a, b string) int {
		i, _ := inspect.StepNumber(a)
		j, _ := inspect.StepNumber(b)
		return cmp.Compare(i, j)
	})
	if len(steps) == 0 {
		return nil
	}
	if is, err := orbax.IsCheckpoint(ctx, dir.in(steps[len(steps)-1])); err != nil || !is {
		return nil
	}
	return steps
}

// besideHint says which steps there are in the directory of a path at which there is
// nothing, or "". Of what was to be removed it proposes none.
func besideHint(at place, removal bool) string {
	dir := at.parent()
	steps := stepsIn(dir)
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
	return hint + "; the newest is " + fault.Shown(dir.in(steps[len(steps)-1]))
}

// newestHint says which step of the run at a place is the newest, or "".
func newestHint(at place) string {
	steps := stepsIn(at)
	if len(steps) == 0 {
		return ""
	}
	return "the newest is " + fault.Shown(at.in(steps[len(steps)-1]))
}

// insideHint says which other verb is for a directory that is no checkpoint, at the given
// path. It returns "" if there is none.
func insideHint(given string, at place) string {
	ctx := context.Background()
	entries, err := at.store.List(ctx, at.name)
	if err != nil {
		return ""
	}
	for _, e := range entries {
		if e.Name != layout.PartialSuffix && strings.HasSuffix(e.Name, layout.PartialSuffix) {
			return "`orbax partial ls " + fault.Shown(given) + "` lists the sessions of partial saves in it"
		}
	}
	if path.Base(at.name) == layout.RootMetadataDir {
		if _, err := at.store.Stat(ctx, path.Join(at.name, layout.RootMetadataFile)); err == nil {
			return "`orbax ls " + fault.Shown(filepath.Dir(given)) + "` prints the metadata of the run"
		}
	}
	return ""
}
