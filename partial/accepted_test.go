package partial_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	_ "github.com/go-orbax/orbax/internal/testenv/fewchecks"
	"github.com/go-orbax/orbax/partial"
)

// A session whose parts were all accepted can be finalized, whatever the names and forms
// of the parts.
func TestAcceptedIsFinalized(t *testing.T) {
	t.Parallel()
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprint(n))
		key := rapid.StringMatching(`[ab/.~%0]{1,3}`)
		accepted := 0
		for i := range rapid.IntRange(2, 4).Draw(rt, "parts") {
			part := map[string]any{}
			for _, k := range rapid.SliceOfN(key, 1, 2).Draw(rt, "keys") {
				part[k] = rapid.SampledFrom([]any{"text", nil, 1, []float32{1, 2}, map[string]any{"b": "x"}, map[string]any{"b": 2}, []any{"s", 1}}).Draw(rt, "value")
			}
			form := handler.StorageOptions{Zarr2: rapid.Bool().Draw(rt, "zarr2"), PlainFiles: rapid.Bool().Draw(rt, "files")}
			if err := partial.Save(t.Context(), path, part, orbax.Storage(form), orbax.CustomMetadata(map[string]any{"a": i})); err == nil {
				accepted++
			} else if strings.Contains(err.Error(), "corrupt") {
				rt.Fatalf("%v: %v", part, err)
			}
		}
		if accepted == 0 {
			return
		}
		if err := partial.Finalize(t.Context(), path); err != nil {
			rt.Fatal(err)
		}
		if err := orbax.Verify(t.Context(), path); err != nil {
			rt.Fatal(err)
		}
	})
}

// A partial save refuses Overwrite whatever is at the path, because the usual advice to
// pass it would lead nowhere.
func TestOverwriteOfCheckpoint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ck")
	if err := orbax.Save(t.Context(), path, map[string]any{"a": 1}); err != nil {
		t.Fatal(err)
	}
	err := partial.Save(t.Context(), path, map[string]any{"b": 1}, orbax.Overwrite())
	if !errors.Is(err, orbax.ErrUsage) || errors.Is(err, orbax.ErrExist) {
		t.Errorf("got %v, want ErrUsage alone", err)
	}
}
