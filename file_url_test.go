package orbax_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
)

// A checkpoint is saved and loaded by a URL, and is where the path is.
func TestFileURL(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b")
	url := "file://" + strings.ReplaceAll(filepath.ToSlash(dir), " ", "%20") + "/ckpt"
	must(t, orbax.Save(t.Context(), url, map[string]any{"a": 1}))
	for _, path := range []string{url, filepath.Join(dir, "ckpt")} {
		if v, err := orbax.Load(t.Context(), path); err != nil || v.(map[string]any)["a"] != 1 {
			t.Errorf("%s: got %v, %v; want 1", path, v, err)
		}
	}
	must(t, orbax.Delete(t.Context(), url))
	if temporary, others := namesIn(t, dir); len(temporary) != 0 || len(others) != 0 {
		t.Errorf("left %q and %q, want nothing", temporary, others)
	}
}
