package interop

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
)

// TestEvalShapeHosts loads into the targets of jax.eval_shape, and PRNG keys without a
// target, on hosts whose devices are of other numbers and names.
func TestEvalShapeHosts(t *testing.T) {
	interpreter := needPython(t)
	path := filepath.Join(t.TempDir(), "checkpoint")
	w := make([]float32, 32)
	for i := range w {
		w[i] = float32(i)
	}
	key, err := array.PRNGKey("rbg", array.Of([]uint32{1, 2, 3, 4}))
	if err != nil {
		t.Fatal(err)
	}
	state := map[string]any{"w": array.Of(w, 8, 4), "n": 5, "opt": []any{int32(7), []float32{1, 2, 3}}, "key": key}
	if err := orbax.Save(t.Context(), path, state); err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs(filepath.Join("testdata", "hosts.py"))
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range [][]string{{"1", "cpu"}, {"3", "cpu"}, {"1", "cuda"}, {"8", "TPU"}} {
		ctx, cancel := context.WithTimeout(t.Context(), answerTime)
		out, err := exec.CommandContext(ctx, interpreter, append([]string{"-B", script, path}, host...)...).CombinedOutput()
		cancel()
		if err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "loaded") {
			t.Errorf("%v: %v\n%s", host, err, out)
		}
	}
}
