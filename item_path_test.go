package orbax_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
)

// TestItemPath opens the directory of a checkpointable.
func TestItemPath(t *testing.T) {
	ctx := t.Context()
	step := filepath.Join(t.TempDir(), "200")
	params := map[string]any{"w": []float32{1, 2, 3}}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(orbax.SaveCheckpointables(ctx, step, map[string]any{
		"params": params, "opt": map[string]any{"count": 5}, "cfg": handler.JSON{Value: map[string]any{"lr": 0.5}},
	}, orbax.CustomMetadata(map[string]any{"k": "v"})))
	path := filepath.Join(step, "params")

	got, err := orbax.LoadAs[struct {
		W []float32 `orbax:"w"`
	}](ctx, path)
	if err != nil || !slices.Equal(got.W, []float32{1, 2, 3}) {
		t.Errorf("%v, %v", got, err)
	}
	if v, err := orbax.Load(ctx, filepath.Join(step, "opt"), orbax.Name("opt")); err != nil || v.(map[string]any)["count"] != 5 {
		t.Errorf("%v, %v", v, err)
	}
	if v, err := orbax.Load(ctx, filepath.Join(step, "cfg")); err != nil || v.(map[string]any)["lr"] != 0.5 {
		t.Errorf("%v, %v", v, err)
	}
	if _, err := orbax.Load(ctx, path, orbax.Name("opt")); !errors.Is(err, orbax.ErrNotExist) {
		t.Errorf("another: %v", err)
	}
	all, err := orbax.LoadCheckpointables(ctx, path, nil)
	if err != nil || len(all) != 1 || all["params"] == nil {
		t.Errorf("all: %v, %v", all, err)
	}
	m, err := orbax.Metadata(ctx, path)
	if err != nil || m.Path != path || len(m.Tree.Leaves) != 1 || m.Custom.(map[string]any)["k"] != "v" {
		t.Errorf("got %+v, %v; want path %s, one leaf, and custom metadata k=v", m, err, path)
	}
	must(orbax.Verify(ctx, path))
	if is, err := orbax.IsCheckpoint(ctx, path); is || err != nil {
		t.Errorf("IsCheckpoint: %v, %v", is, err)
	}
	if v, err := orbax.Load(ctx, step, orbax.Name("opt")); err != nil || v == nil {
		t.Errorf("%v, %v", v, err)
	}

	// It is a part of the checkpoint, so that nothing is written there.
	if err := orbax.Save(ctx, path, params, orbax.Overwrite()); !errors.Is(err, orbax.ErrInvalidCheckpoint) {
		t.Errorf("Save: %v", err)
	}
	if err := orbax.Delete(ctx, path); !errors.Is(err, orbax.ErrInvalidCheckpoint) {
		t.Errorf("Delete: %v", err)
	}
	if _, err := orbax.Repair(ctx, path, orbax.WriteRepairs()); !errors.Is(err, orbax.ErrInvalidCheckpoint) {
		t.Errorf("Repair: %v", err)
	}
	for _, inside := range []string{"params/d", "metrics"} {
		must(os.MkdirAll(filepath.Join(step, inside), 0o777))
		if _, err := orbax.Open(ctx, filepath.Join(step, inside)); !errors.Is(err, orbax.ErrInvalidCheckpoint) {
			t.Errorf("%s: %v", inside, err)
		}
	}

	// Damage is found, of this checkpointable and of the documents around it.
	tree := filepath.Join(path, "_METADATA")
	doc, err := os.ReadFile(tree)
	must(err)
	must(os.WriteFile(tree, append(doc, ' '), 0o666))
	if err := orbax.Verify(ctx, path); !errors.Is(err, orbax.ErrCorrupt) {
		t.Errorf("changed document: %v", err)
	}
	must(orbax.Verify(ctx, filepath.Join(step, "opt")))
	must(os.WriteFile(tree, doc, 0o666))
	must(os.Rename(filepath.Join(step, "_CHECKPOINT_METADATA"), filepath.Join(step, "kept")))
	must(os.WriteFile(filepath.Join(step, "_CHECKPOINT_METADATA"), []byte("{}"), 0o666))
	if _, err := orbax.Load(ctx, path); !errors.Is(err, orbax.ErrCorrupt) {
		t.Errorf("changed metadata around it: %v", err)
	}
	must(os.Rename(filepath.Join(step, "kept"), filepath.Join(step, "_CHECKPOINT_METADATA")))
	must(orbax.Delete(ctx, step, orbax.Name("opt")))
	if _, err := orbax.Load(ctx, filepath.Join(step, "opt")); !errors.Is(err, orbax.ErrNotExist) {
		t.Errorf("deleted: %v", err)
	}
	must(orbax.Verify(ctx, path))
}

// The checkpointable of a checkpoint that is not finished is not finished either.
func TestItemPathUnfinished(t *testing.T) {
	step := filepath.Join(t.TempDir(), "200")
	if err := orbax.Save(t.Context(), step, map[string]any{"a": 1}, orbax.Name("params")); err != nil {
		t.Fatal(err)
	}
	mark := filepath.Join(step, "commit_success.txt")
	if err := os.Rename(mark, filepath.Join(step, "params", "commit_success.txt")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{step, filepath.Join(step, "params")} {
		if _, err := orbax.Load(t.Context(), path); !errors.Is(err, orbax.ErrIncomplete) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
