package transform

import (
	"errors"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/view"
)

func TestNest(t *testing.T) {
	flat, err := view.Of(map[string]any{
		"model.norm.weight": array.Of([]float32{1}, 1),
		"model.layers.0.w":  array.Of([]float32{2}, 1),
		"lm_head":           array.Of([]float32{3}, 1),
		"odd..name":         4,
	})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := Compile(flat, nil, Nest("."))
	if err != nil {
		t.Fatal(err)
	}
	v, err := plan.Tree().Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	root := v.(map[string]any)
	model := root["model"].(map[string]any)
	weight := model["norm"].(map[string]any)["weight"].(*array.Array)
	layer := model["layers"].(map[string]any)["0"].(map[string]any)["w"].(*array.Array)
	if !weight.Equal(array.Of([]float32{1}, 1)) || !layer.Equal(array.Of([]float32{2}, 1)) {
		t.Errorf("%v", v)
	}
	if root["odd..name"] != 4 || root["lm_head"] == nil || len(root) != 3 {
		t.Errorf("%v", v)
	}

	// What nests into a leaf is refused, as is what changes nothing.
	both, err := view.Of(map[string]any{"a": 1, "a.b": 2})
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		tree *view.Tree
		rule Rule
	}{
		"a leaf and a dict": {both, Nest(".")},
		"nothing":           {flat, Nest("/")},
		"no separator":      {flat, Nest("")},
	} {
		if _, err := Compile(c.tree, nil, c.rule); !errors.Is(err, fault.ErrStructure) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
