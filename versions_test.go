package orbax_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/storage"
)

// crashState is a state of about 2 MiB in which every number tells its version.
func crashState(version int) map[string]any {
	w := make([]int32, 1<<19)
	for i := range w {
		w[i] = int32(version + i)
	}
	return map[string]any{"w": w, "version": version}
}

// crashVersion loads all of the checkpoint at path and returns its version, 0
// if there is none. Anything that is not exactly one version is an error.
func crashVersion(path string) (int, error) {
	state, err := orbax.LoadAs[struct {
		W       []int32 `orbax:"w"`
		Version int     `orbax:"version"`
	}](context.Background(), path)
	if errors.Is(err, orbax.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for i, x := range state.W {
		if x != int32(state.Version+i) {
			return 0, fmt.Errorf("%s: version %d has %d at %d", path, state.Version, x, i)
		}
	}
	if len(state.W) != 1<<19 || state.Version == 0 {
		return 0, fmt.Errorf("%s: %d numbers, version %d", path, len(state.W), state.Version)
	}
	return state.Version, nil
}

// wantVersion fails the test unless path holds exactly this version.
func wantVersion(t *testing.T, path string, want int) {
	t.Helper()
	if got, err := crashVersion(path); err != nil || got != want {
		t.Errorf("%s: version %d, %v; want %d", path, got, err, want)
	}
}

// namesIn returns the names in dir: those of temporary directories, and others.
func namesIn(t *testing.T, dir string) (temporary, others []string) {
	t.Helper()
	for _, name := range orbaxtest.Names(t, dir) {
		if strings.Contains(name, storage.TempMarker) {
			temporary = append(temporary, name)
		} else {
			others = append(others, name)
		}
	}
	return temporary, others
}

// onlyTemporary fails the test unless dir has exactly the names in whole, and
// temporary directories.
func onlyTemporary(t *testing.T, dir string, whole ...string) {
	t.Helper()
	_, names := namesIn(t, dir)
	slices.Sort(whole)
	if !slices.Equal(names, whole) {
		t.Errorf("%s has %q, want %q", dir, names, whole)
	}
}
