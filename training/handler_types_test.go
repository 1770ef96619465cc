package training_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/training"
)

// A step records the handler type of the step before where that leads the registry of the
// save back to its handler, and else the handler's own: what saved a step loads it.
func TestHandlerTypeOfStepBefore(t *testing.T) {
	const before = "orbax.checkpoint._src.handlers.json_checkpoint_handler.JsonCheckpointHandler"
	empty := func(h handler.Handler, secondary ...string) *handler.Registry {
		r := handler.EmptyRegistry()
		r.Add(h, secondary...)
		return r
	}
	bound := func(r *handler.Registry, h handler.Handler) *handler.Registry {
		r.Bind("j", h)
		return r
	}
	other := &handler.Registry{}
	other.Add(handler.MetricsHandler{}, before)
	for name, tc := range map[string]struct {
		registry *handler.Registry
		handsOn  bool
	}{
		"standard":                 {nil, true},
		"bound":                    {bound(&handler.Registry{}, handler.JSONHandler{}), true},
		"own that knows it":        {empty(handler.JSONHandler{}, "JsonCheckpointHandler"), true},
		"own that does not":        {empty(handler.JSONHandler{}), false},
		"bound where unknown":      {bound(handler.EmptyRegistry(), handler.JSONHandler{}), false},
		"another for it":           {bound(other, handler.JSONHandler{File: "j.json"}), false},
		"own file":                 {bound(&handler.Registry{}, handler.JSONHandler{File: "j.json"}), false},
		"own file that knows it":   {empty(handler.JSONHandler{File: "j.json"}, "JsonCheckpointHandler"), false},
		"not comparable, of users": {bound(&handler.Registry{}, listHandler{JSONHandler: handler.JSONHandler{}}), false},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			c := openRun(t, root, training.Options{})
			save := func(step int) []byte {
				t.Helper()
				items := map[string]any{"j": handler.JSON{Value: map[string]any{"a": 1}}}
				if _, err := c.SaveCheckpointables(t.Context(), step, items, orbax.Handlers(tc.registry)); err != nil {
					t.Fatal(err)
				}
				doc, err := os.ReadFile(filepath.Join(root, strconv.Itoa(step), "_CHECKPOINT_METADATA"))
				if err != nil {
					t.Fatal(err)
				}
				return doc
			}
			old := strings.ReplaceAll(string(save(0)), handler.JSONHandler{}.Type(), before)
			if err := os.WriteFile(filepath.Join(root, "0", "_CHECKPOINT_METADATA"), []byte(old), 0o666); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(root, "0", "digests.sha256")); err != nil {
				t.Fatal(err)
			}
			if doc := save(1); bytes.Contains(doc, []byte(before)) != tc.handsOn {
				t.Errorf("%s", doc)
			}
			if _, err := orbax.LoadCheckpointables(t.Context(), filepath.Join(root, "1"), nil, orbax.Handlers(tc.registry)); err != nil {
				t.Error(err)
			}
		})
	}
}

// listHandler cannot be compared.
type listHandler struct {
	handler.JSONHandler
	_ []int
}
