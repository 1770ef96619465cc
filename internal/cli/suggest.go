package cli

import (
	"context"
	"strings"

	"github.com/go-orbax/orbax/internal/inspect"
	"github.com/go-orbax/orbax/safetensors"
	"github.com/go-orbax/orbax/storage"
)

// closestPath returns the neighbour of a location that may have been meant, among those
// that fit, or "". It never returns a step with another number, because a wrong number is
// not a spelling error.
func closestPath(ctx context.Context, at storage.Location, fits func(storage.Info) bool) string {
	dir, name := at.Dir(), at.Base()
	number, numbered := inspect.StepNumber(name)
	entries, err := dir.List(ctx)
	if err != nil {
		return ""
	}
	var names []string
	for _, e := range entries {
		if n, ok := inspect.StepNumber(e.Name); ok && (!numbered || n != number) {
			continue
		}
		if fits(e) {
			names = append(names, e.Name)
		}
	}
	if near := inspect.Closest(name, names, 1); len(near) > 0 {
		return dir.Join(near[0]).String()
	}
	return ""
}

// mayBeCheckpoint reports whether a path can be that of a checkpoint, or lead to one.
func mayBeCheckpoint(info storage.Info) bool {
	if info.Dir {
		return !strings.Contains(info.Name, storage.TempMarker)
	}
	return strings.HasSuffix(info.Name, safetensors.Ext)
}
