package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
)

// stepsIn returns the names in a directory of the disk that may be those of steps, in the
// order of their numbers; none if the newest is no checkpoint.
func stepsIn(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var steps []string
	for _, e := range entries {
		if _, ok := stepNumber(e.Name()); !ok {
			continue
		}
		if info, err := os.Stat(filepath.Join(dir, e.Name())); err == nil && mayBeCheckpoint(info) {
			steps = append(steps, e.Name())
		}
	}
	slices.SortStableFunc(steps, func(a, b string) int {
		i, _ := stepNumber(a)
		j, _ := stepNumber(b)
		return cmp.Compare(i, j)
	})
	if len(steps) == 0 {
		return nil
	}
	if is, err := orbax.IsCheckpoint(context.Background(), filepath.Join(dir, steps[len(steps)-1])); err != nil || !is {
		return nil
	}
	return steps
}

// besideHint says which steps there are in the directory of a path at which there is
// nothing, or "". Of what was to be removed it proposes none.
func besideHint(path string, removal bool) string {
	dir := filepath.Dir(path)
	steps := stepsIn(dir)
	hint := ""
	switch n := len(steps); {
	case n == 0:
		return ""
	case n == 1:
		hint = "the only step there is " + shown(steps[0])
	case n <= fault.MaxListed:
		hint = "the steps there are " + fault.List(steps)
	default:
		hint = fmt.Sprintf("%d steps are there, from %s to %s", n, shown(steps[0]), shown(steps[n-1]))
	}
	if removal || len(steps) == 1 {
		return hint
	}
	return hint + "; the newest is " + shown(filepath.Join(dir, steps[len(steps)-1]))
}

// newestHint says which step of the run at a path of the disk is the newest, or "".
func newestHint(path string) string {
	steps := stepsIn(path)
	if len(steps) == 0 {
		return ""
	}
	return "the newest is " + shown(filepath.Join(path, steps[len(steps)-1]))
}

// insideHint says which other verb is for a directory that is no checkpoint: path, which is
// name on the disk. It returns "" if there is none.
func insideHint(path, name string) string {
	if sessions, err := filepath.Glob(filepath.Join(escapeGlob(name), "?*"+layout.PartialSuffix)); err == nil && len(sessions) > 0 {
		return "`orbax partial ls " + shown(path) + "` lists the sessions of partial saves in it"
	}
	if filepath.Base(name) == layout.RootMetadataDir {
		if _, err := os.Stat(filepath.Join(name, layout.RootMetadataFile)); err == nil {
			return "`orbax ls " + shown(filepath.Dir(path)) + "` prints the metadata of the run"
		}
	}
	return ""
}

// escapeGlob returns a path as a pattern that matches nothing else.
func escapeGlob(path string) string {
	return strings.NewReplacer("[", "[[]", "*", "[*]", "?", "[?]").Replace(path)
}
