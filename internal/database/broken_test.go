package database

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/ocdbt"
	"github.com/go-orbax/orbax/storage"
)

// A file needs the bytes up to the end of its last value, whatever the order of the
// values.
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

// The end of a context says nothing about a file.
func TestFindBrokenCancelled(t *testing.T) {
	dir := ckdir.NewReadDir(ckdir.Place{Root: storage.At(storage.Local(), filepath.ToSlash(t.TempDir()))})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	values := slices.Values([]ocdbt.Value{{Ref: ocdbt.Ref{File: "d/x", Length: 1}}})
	broken, err := FindBroken(ctx, dir.At().Store.Properties(), values, func(file string) (*ckdir.ReadDir, string, error) { return dir, file, nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", broken, err)
	}
}
