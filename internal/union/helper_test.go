package union

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/treesave"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/tree"
)

// saveUnmerged saves a tree with its database in a separate directory.
func saveUnmerged(t *testing.T, v any, o treesave.Storage) *ckdir.ReadDir {
	t.Helper()
	dir, _ := writtenItem(t, planned(t, v, o, &ckdir.Settings{Unmerged: true}))
	return dir
}

// planned returns the function that writes v.
func planned(t testing.TB, v any, o treesave.Storage, s *ckdir.Settings) func(context.Context, *ckdir.WriteDir) error {
	t.Helper()
	leaves, err := tree.Flatten(v)
	if err != nil {
		t.Fatal(err)
	}
	p, err := treesave.New(leaves, o, sharding.Process{})
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context, d *ckdir.WriteDir) error { return p.Write(ctx, d, s) }
}

// writtenItem runs write for an item called "item". It returns the item's directory, and
// the path of that directory.
func writtenItem(t testing.TB, write func(context.Context, *ckdir.WriteDir) error) (*ckdir.ReadDir, string) {
	t.Helper()
	root := filepath.Join(t.TempDir(), "ckpt")
	stage, err := storage.Local().Begin(t.Context(), root, storage.BeginOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var digests layout.Digests
	dir, err := ckdir.NewWriteDir(t.Context(), nil, stage, "item", digests.Add)
	if err != nil {
		t.Fatal(err)
	}
	if err := write(t.Context(), dir); err != nil {
		stage.Abort()
		t.Fatal(err)
	}
	if err := stage.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return readDir(storage.Local(), root, &digests), filepath.Join(root, "item")
}

// readDir returns the directory of the item in the checkpoint at root.
func readDir(store storage.Store, root string, digests ckdir.Digests) *ckdir.ReadDir {
	return ckdir.NewReadDir(ckdir.Place{Root: storage.At(store, root), Name: "item", Digests: digests})
}
