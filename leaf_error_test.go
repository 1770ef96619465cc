package orbax_test

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/view"
)

// What the leaves of an open checkpoint return names the leaf, even where the failure is
// not about one: a context that has ended, a checkpoint that is closed.
func TestLeafErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ck")
	values := make([]float32, 1<<16) // more than is read with the documents
	for i := range values {
		values[i] = float32(i * i)
	}
	if err := orbax.Save(t.Context(), path, map[string]any{"w": array.Of(values, len(values))}); err != nil {
		t.Fatal(err)
	}
	ck, err := orbax.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	tree, err := ck.Tree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stored, err := tree.Leaf("w")
	if err != nil {
		t.Fatal(err)
	}
	sliced, err := stored.Slice(0, 1, 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	check := func(ctx context.Context, want error) {
		t.Helper()
		for name, l := range map[string]*view.Leaf{"stored": stored, "sliced": sliced} {
			_, load := l.Load(ctx)
			_, region := l.Region(ctx, []int{0}, []int{1})
			for how, err := range map[string]error{"Load": load, "Region": region, "ReadRegion": l.ReadRegion(ctx, make([]byte, 4), []int{1}, []int{1})} {
				leaf, ok := errors.AsType[*orbax.LeafError](err)
				if !ok || leaf.Path != "w" || !errors.Is(err, want) {
					t.Errorf("%s of the leaf that is %s: %v", how, name, err)
				}
			}
		}
	}
	check(ended, context.Canceled)
	if err := ck.Close(); err != nil {
		t.Fatal(err)
	}
	check(t.Context(), fs.ErrClosed)
	_, err = ck.Tree(t.Context())
	if e, ok := errors.AsType[*orbax.Error](err); !ok || e.Path != path || e.Op != "open" || !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Tree: got %v, want an *orbax.Error of opening %s that matches fs.ErrClosed", err, path)
	}
}
