package tree

import (
	"errors"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// A leaf that cannot be read stops a target that wants it, with its own error
// whatever the target is, and no other.
func TestBindBrokenLeaf(t *testing.T) {
	specs := []Spec{
		{Path: Path{{Name: "w"}}, Err: fault.ErrCorrupt},
		{Path: Path{{Name: "b"}}, Kind: KindScalar, DType: array.Int64},
	}
	for name, target := range map[string]any{
		"array": &struct{ W, B any }{W: array.Of([]int8{1})},
		"nil": &struct {
			W *array.Array
			B any
		}{},
		"number": &struct {
			W int
			B any
		}{},
		"string": &struct {
			W string
			B any
		}{},
		"struct": &struct {
			W struct{ X int }
			B any
		}{},
		"slice": &struct {
			W []float32
			B any
		}{},
		"abstract": &struct{ W, B any }{W: array.ShapeDtypeStruct{}},
		"any":      &struct{ W, B any }{},
	} {
		_, _, err := Bind(target, renamed(specs), BindOptions{})
		var leaf *fault.Leaf
		if !errors.Is(err, fault.ErrCorrupt) || !errors.As(err, &leaf) || leaf.Path != "W" {
			t.Errorf("%s: %v", name, err)
		}
	}
	partial := map[string]any{"b": nil}
	slots, _, err := Bind(&partial, specs, BindOptions{Partial: true})
	if err != nil || !slots[0].Skip || slots[1].Skip {
		t.Errorf("Partial: %+v, %v", slots, err)
	}
	placed := map[string]any{"b": nil, "w": Placeholder}
	slots, _, err = Bind(&placed, specs, BindOptions{})
	if err != nil || !slots[0].Skip {
		t.Errorf("Placeholder: %+v, %v", slots, err)
	}
	if _, _, err = BindAbstract(map[string]any{"w": array.ShapeDtypeStruct{}, "b": 0}, specs, BindOptions{}); !errors.Is(err, fault.ErrCorrupt) {
		t.Errorf("BindAbstract: %v", err)
	}
}

// renamed gives the specs the names of the fields W and B.
func renamed(specs []Spec) []Spec {
	w, b := specs[0], specs[1]
	w.Path, b.Path = Path{{Name: "W"}}, Path{{Name: "B"}}
	return []Spec{w, b}
}
