package gcs_test

import (
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
)

// state returns a state with an array of several parts, small ones, and scalars.
func state(step int) map[string]any {
	w := make([]float32, 5<<20)
	for i := range w {
		w[i] = float32(i%1000003) + float32(step)
	}
	return map[string]any{
		"params": map[string]any{"w": array.Of(w, 5<<10, 1<<10), "b": array.Of([]int64{1, 2, int64(step)})},
		"step":   step, "name": "gs",
	}
}

// The error for a bucket that does not exist names it, and what to do.
func TestMissingBucket(t *testing.T) {
	emulate(t)
	const path = "gs://no-such-bucket/run/1"
	for name, err := range map[string]error{
		"Save":   orbax.Save(t.Context(), path, state(1)),
		"Verify": orbax.Verify(t.Context(), path),
		"Delete": orbax.Delete(t.Context(), path),
	} {
		if err == nil || !strings.Contains(err.Error(), "there is no bucket no-such-bucket; make it with") {
			t.Errorf("%s: got the error %v", name, err)
		}
	}
}
