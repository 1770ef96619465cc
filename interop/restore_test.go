package interop

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/training"
)

// The old CheckpointManager restores without arguments what Go adds to its runs, also
// in a process that has restored nothing else.
func TestRestoreWithoutArguments(t *testing.T) {
	interpreter := needPython(t)
	root := t.TempDir()
	python := func(act string) string {
		t.Helper()
		script, err := filepath.Abs(filepath.Join("testdata", "restore.py"))
		must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), answerTime)
		defer cancel()
		cmd := exec.CommandContext(ctx, interpreter, "-B", script, act, root)
		var stderr tailBuffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", act, err, &stderr)
		}
		return string(out)
	}
	python("save")
	w := map[string]any{"w": []float32{4, 3, 2, 1}}
	for name, items := range map[string]map[string]any{
		"one":     {"default": w},
		"several": {"state": w, "params": map[string]any{"w": []float32{7}}, "config": handler.JSON{Value: map[string]any{"a": 2}}},
	} {
		c, err := training.New(t.Context(), filepath.Join(root, name), training.Options{})
		must(t, err)
		if _, err := c.SaveCheckpointables(t.Context(), 2, items); err != nil {
			t.Error(err)
		}
		must(t, c.Close())
	}
	want := "[4.0, 3.0, 2.0, 1.0]\n[4.0, 3.0, 2.0, 1.0] [7.0] {'a': 2}\n"
	if got := python("restore"); got != want {
		t.Errorf("restored %s, want %s", got, want)
	}
}
