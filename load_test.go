package orbax_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/view"
)

func TestLoadIntoFillsExistingMemory(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ckpt")
	saved := map[string]any{"w": array.Of([]float32{1, 2, 3, 4}, 2, 2), "b": []int16{5, 6}}
	if err := orbax.Save(ctx, path, saved); err != nil {
		t.Fatal(err)
	}
	w, b := make([]float32, 4), make([]int16, 2)
	target := map[string]any{"w": array.Of(w, 2, 2), "b": b}
	if err := orbax.LoadInto(ctx, path, target); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(w, []float32{1, 2, 3, 4}) || !slices.Equal(b, []int16{5, 6}) {
		t.Errorf("memory of the target has %v and %v", w, b)
	}
}

// Which checkpointable is meant when none is named: "state", else the first
// that is a pytree, in the order of names.
func TestLoadPicksACheckpointable(t *testing.T) {
	for _, c := range []struct {
		items map[string]any
		want  any // nil: an error
	}{
		{map[string]any{"state": 1, "a": 2}, 1},
		{map[string]any{"zparams": 1}, 1},
		{map[string]any{"model": 3, "cfg": handler.JSON{Value: 1}, "opt": 4}, 3},
		{map[string]any{"cfg": handler.JSON{Value: 1}}, nil},
	} {
		path := filepath.Join(t.TempDir(), "ckpt")
		if err := orbax.SaveCheckpointables(t.Context(), path, c.items); err != nil {
			t.Fatal(err)
		}
		got, err := orbax.Load(t.Context(), path)
		if got != c.want || (err != nil) != (c.want == nil) {
			t.Errorf("Load of %v: %v, %v; want %v", c.items, got, err, c.want)
		}
		if err != nil && (!errors.Is(err, orbax.ErrStructure) || errors.Is(err, orbax.ErrNotExist)) {
			t.Errorf("Load of %v: %v", c.items, err)
		}
	}
}

func TestName(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ckpt")
	if err := orbax.Save(ctx, path, map[string]any{"x": 1}, orbax.Name("params")); err != nil {
		t.Fatal(err)
	}
	for _, options := range [][]orbax.LoadOption{nil, {orbax.Name("params")}, {orbax.Name("")}} {
		if _, err := orbax.Load(ctx, path, options...); err != nil {
			t.Error(err)
		}
	}
	_, err := orbax.Load(ctx, path, orbax.Name("state"))
	if !errors.Is(err, orbax.ErrNotExist) || !strings.Contains(err.Error(), `"params"`) {
		t.Errorf("the error does not say what there is: %v", err)
	}
}

// Of a checkpoint without digests and recorded handlers, as other writers may
// make, the metadata tells what is a pytree and what is not.
func TestMetadataOfOtherWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ckpt")
	err := orbax.SaveCheckpointables(t.Context(), path, map[string]any{"model": 1, "config": handler.JSON{Value: 2}})
	if err != nil {
		t.Fatal(err)
	}
	meta, err := orbax.CheckpointablesMetadata(t.Context(), path)
	if err != nil || !meta.Digests {
		t.Errorf("of ours: %+v, %v", meta, err)
	}
	err = errors.Join(os.Remove(filepath.Join(path, "digests.sha256")),
		os.WriteFile(filepath.Join(path, "_CHECKPOINT_METADATA"), []byte("{}"), 0o666))
	if err != nil {
		t.Fatal(err)
	}
	meta, err = orbax.CheckpointablesMetadata(t.Context(), path)
	if err != nil || meta.Digests || meta.Checkpointables["config"] != nil {
		t.Fatalf("%+v, %v", meta, err)
	}
	if tree, ok := meta.Checkpointables["model"].(*view.TreeMetadata); !ok || len(tree.Leaves) != 1 {
		t.Errorf("model is %v", meta.Checkpointables["model"])
	}
	meta, err = orbax.Metadata(t.Context(), path, orbax.Name("config"))
	if err != nil || meta.Tree != nil {
		t.Errorf("%+v, %v", meta, err)
	}
}

func TestLoadCheckpointables(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "ckpt")
	err := orbax.SaveCheckpointables(ctx, path, map[string]any{
		"model": map[string]any{"w": []float32{1}}, "step": 100, "config": handler.JSON{Value: []int{1, 2}},
	})
	if err != nil {
		t.Fatal(err)
	}
	all, err := orbax.LoadCheckpointables(ctx, path, nil)
	if err != nil || len(all) != 3 || all["step"] != 100 {
		t.Errorf("all parts: %v, %v", all, err)
	}
	if c, ok := all["config"].([]any); !ok || !slices.Equal(c, []any{1, 2}) {
		t.Errorf("config is %v", all["config"])
	}
	some, err := orbax.LoadCheckpointables(ctx, path, map[string]any{"step": nil})
	if err != nil || len(some) != 1 || some["step"] != 100 {
		t.Errorf("one part: %v, %v", some, err)
	}
	_, err = orbax.LoadCheckpointables(ctx, path, map[string]any{"x": nil, "y": nil})
	if !errors.Is(err, orbax.ErrNotExist) || !strings.Contains(err.Error(), `"x"`) || !strings.Contains(err.Error(), `"y"`) {
		t.Errorf("two parts that are missing: %v", err)
	}
	meta, err := orbax.CheckpointablesMetadata(ctx, path)
	if err != nil || len(meta.Checkpointables) != 3 || meta.Checkpointables["config"] != nil {
		t.Errorf("metadata: %+v, %v", meta, err)
	}
	if tree := meta.Checkpointables["model"].(*view.TreeMetadata); len(tree.Leaves) != 1 || tree.Bytes() != 4 {
		t.Errorf("metadata of model: %+v", tree)
	}
}

func TestCustomMetadata(t *testing.T) {
	ctx := t.Context()
	for _, custom := range []any{
		map[string]any{"a": 1, "f": 0.5, "s": "é", "n": nil, "l": []any{true}},
		[]any{"a", 1},
		[]string{},
	} {
		path := filepath.Join(t.TempDir(), "ckpt")
		if err := orbax.Save(ctx, path, 1, orbax.CustomMetadata(custom)); err != nil {
			t.Fatal(err)
		}
		meta, err := orbax.Metadata(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		if want := toJSON(t, custom); toJSON(t, meta.Custom) != want {
			t.Errorf("custom metadata is %v, want %s", meta.Custom, want)
		}
		if meta.InitTime.IsZero() || meta.CommitTime.Before(meta.InitTime) {
			t.Errorf("times are %v and %v", meta.InitTime, meta.CommitTime)
		}
	}
}

func TestIsCheckpoint(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	path := filepath.Join(dir, "ckpt")
	if err := orbax.Save(ctx, path, 1); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]bool{
		path: true, dir: false, filepath.Join(path, "state"): false,
		filepath.Join(path, "orbax.checkpoint"): false, filepath.Join(dir, "none"): false,
	} {
		if got, err := orbax.IsCheckpoint(ctx, p); got != want || err != nil {
			t.Errorf("IsCheckpoint(%s) = %v, %v", p, got, err)
		}
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
