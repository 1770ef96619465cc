package cli

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/failstore"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/storage/object"
	"github.com/go-orbax/orbax/storage/object/membucket"
)

// The verbs make few requests to an object store.
func TestRequests(t *testing.T) {
	ctx := t.Context()
	bucket := &failstore.Bucket{Bucket: membucket.New()}
	store := object.New(bucket, object.Options{})
	many := map[string]any{}
	for i := range 2000 {
		many[fmt.Sprint("layer_", i)] = []float32{float32(i), 1, 2, 3}
	}
	orbaxtest.Must(t, orbax.Save(ctx, "run/100", many, orbax.In(store)))
	orbaxtest.Must(t, orbax.Save(ctx, "run/101", map[string]any{"w": make([]float32, 50_000)}, orbax.In(store)))
	for _, c := range []struct {
		args []string
		most int
	}{
		{[]string{"ls", "run/100"}, 8},
		{[]string{"ls", "run/100", "--json"}, 8},
		{[]string{"cat", "run/100", "layer_7"}, 8},
		{[]string{"ls", "run"}, 20},
		{[]string{"verify", "run/101"}, 20},
		{[]string{"hash", "run/101"}, 6},
		{[]string{"diff", "run/101", "run/101"}, 12},
	} {
		bucket.Take()
		var out, errs bytes.Buffer
		status := Run(ctx, c.args, Config{Out: &out, Err: &errs, Store: store})
		made := bucket.Take()
		t.Logf("%s: %d requests", c.args, len(made.All))
		if status != exitOK || len(made.All) > c.most {
			t.Errorf("%s: status %d, %s; want at most %d requests, got %v", c.args, status, errs.Bytes(), c.most, made)
		}
	}
}
