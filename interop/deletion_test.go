package interop

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/go-orbax/orbax"
)

// What Orbax rewrites when it deletes a checkpointable is not damage.
func TestPythonDeletesACheckpointable(t *testing.T) {
	needPython(t)
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "checkpoint")
	err := orbax.SaveCheckpointables(ctx, path, map[string]any{
		"state": map[string]any{"step": 7}, "opt": map[string]any{"mu": []float32{1, 2}},
	}, orbax.CustomMetadata(map[string]any{"run": "a"}))
	if err != nil {
		t.Fatal(err)
	}
	mustCall(t, "delete", request{"path": path, "name": "opt"}, nil)
	ck, err := orbax.Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer ck.Close()
	if names := ck.Names(); !slices.Equal(names, []string{"state"}) {
		t.Errorf("what is left: %q", names)
	}
	if err := ck.Verify(ctx); err != nil {
		t.Error(err)
	}
	v, err := ck.Load(ctx)
	if m, ok := v.(map[string]any); err != nil || !ok || m["step"] != 7 {
		t.Errorf("loaded %v, %v", v, err)
	}
	meta, err := ck.Metadata(ctx)
	if m, ok := meta.Custom.(map[string]any); err != nil || !ok || m["run"] != "a" {
		t.Errorf("metadata %+v, %v", meta, err)
	}
}
