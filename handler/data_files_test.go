package handler

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/ocdbt"
)

// The data files of a database of one process, that nothing has merged, are looked at too.
func TestBrokenDataFileOfProcess(t *testing.T) {
	dir := saveUnmerged(t, map[string]any{"a": make([]float32, 3000), "n": 1}, StorageOptions{})
	files, err := filepath.Glob(filepath.Join(dir.path(), ownDatabase, "d", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && info.Size() >= 12000 {
			err = os.Truncate(file, 12000)
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	tree, err := OpenTree(t.Context(), dir, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range tree.Metadata().Leaves {
		if broken := l.Path.String() == "a"; broken != errors.Is(l.Err, fault.ErrCorrupt) {
			t.Errorf("%v: %v", l.Path, l.Err)
		}
	}
}

// What a file needs is the end of its last value, in whatever order the values come.
func TestEndsOf(t *testing.T) {
	at := func(file string, off, n int64) ocdbt.Value {
		return ocdbt.Value{Ref: ocdbt.Ref{File: file, Offset: off, Length: n}}
	}
	values := []ocdbt.Value{at("a", 100, 5), at("a", 0, 10), {Inline: []byte{1}}, at("b", 7, 0), at("a", 50, 1), {}, at("c", 0, 1), at("b", 1, 2)}
	got := endsOf(slices.Values(values))
	if want := map[string]int64{"a": 105, "b": 7, "c": 1}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// The end of a context is no state of a file.
func TestFindBrokenCancelled(t *testing.T) {
	dir := saveUnmerged(t, map[string]any{"a": 1}, StorageOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	values := slices.Values([]ocdbt.Value{{Ref: ocdbt.Ref{File: "d/x", Length: 1}}})
	broken, err := findBroken(ctx, values, func(file string) (*ReadDir, string, error) { return dir, file, nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", broken, err)
	}
}
