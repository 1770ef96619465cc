package tree_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

// average stands for a type of another package: nothing of it is exported.
type average struct {
	decay  float64
	values []float32
}

// meanOf is an interface of foreign types.
type meanOf interface{ mean() float64 }

type constant struct{ c float64 }

func (c constant) mean() float64 { return c.c }

var averages = tree.NewNodeAdapter(
	func(a *average) (any, error) {
		if a.decay < 0 {
			return nil, errors.New("bad luck")
		}
		return map[string]any{"decay": a.decay, "values": a.values}, nil
	},
	func(children any, old *average) (*average, error) {
		m := children.(map[string]any)
		if old == nil {
			old = &average{}
		}
		old.decay = m["decay"].(float64)
		switch v := m["values"].(type) {
		case []float32:
			old.values = v
		case *array.Array:
			old.values, _ = array.Values[float32](v)
		}
		return old, nil
	})

var means = tree.NewNodeAdapter(
	func(m meanOf) (any, error) { return tree.Tuple{m.mean()}, nil },
	func(children any, old meanOf) (meanOf, error) {
		switch c := children.(type) {
		case tree.Tuple:
			return constant{c[0].(float64)}, nil
		case []any:
			return constant{c[0].(float64)}, nil
		}
		return nil, errors.New("not a sequence")
	})

func TestNodeAdapter(t *testing.T) {
	in := struct {
		A *average
		B []*average
		C meanOf
		D constant
		E any
		N *average
	}{&average{0.5, []float32{1, 2}}, []*average{nil, {0.25, []float32{3}}}, constant{1}, constant{2}, &average{0.75, []float32{4}}, nil}
	leaves, err := tree.Flatten(in, averages, means)
	if err != nil {
		t.Fatal(err)
	}
	if got := show(leaves); !strings.HasPrefix(got, "/A/decay=") || !strings.Contains(got, " /B[0]=None /B[1]/decay=") || !strings.Contains(got, " /C[0]=") || !strings.Contains(got, "/N=None") {
		t.Errorf("got %s", got)
	}
	out := in
	kept, memory := &average{9, []float32{9, 9}}, &average{}
	out.A, out.B, out.C, out.D, out.E, out.N = kept, nil, constant{9}, constant{9}, memory, &average{}
	values := kept.values
	if err := load(&out, leaves, averages, means); err != nil {
		t.Fatal(err)
	}
	if out.A != kept || &kept.values[0] != &values[0] || values[1] != 2 || out.E != any(memory) || out.N != nil {
		t.Errorf("got %+v with %v; want A in place with 2, E as it was, no N", out, values)
	}
	if !reflect.DeepEqual(out, in) {
		t.Errorf("got %+v, want %+v", out, in)
	}
	shared := []*average{kept, kept}
	if err := load(&shared, flatten(t, []any{map[string]any{"decay": 1.0, "values": []float32{1, 2}}, map[string]any{"decay": 2.0, "values": []float32{1, 2}}}), averages); !errors.Is(err, fault.ErrStructure) {
		t.Errorf("one value for two nodes: %v", err)
	}

	if _, err := tree.Flatten(&average{decay: -1}, averages); err == nil || !strings.Contains(err.Error(), "bad luck") {
		t.Errorf("err = %v", err)
	}
	nothing := tree.NewNodeAdapter[*average](nil, nil)
	if _, err := tree.Flatten(in.A, nothing); !errors.Is(err, fault.ErrLeafType) {
		t.Errorf("saved by nil: %v", err)
	}
	var a *average
	if err := load(&a, flatten(t, map[string]any{"decay": 1.0}), nothing); !errors.Is(err, fault.ErrLeafType) {
		t.Errorf("loaded by nil: %v", err)
	}
	d := constant{7}
	if err := load(&d, flatten(t, []any{1.0, 2.0}), means); !errors.Is(err, fault.ErrStructure) || d.c != 7 {
		t.Errorf("another number of elements: %v", err)
	}
	endless := tree.NewNodeAdapter(func(a *average) (any, error) { return a, nil }, nil)
	if _, err := tree.Flatten(&average{}, endless); !errors.Is(err, fault.ErrLeafType) {
		t.Errorf("a node of itself: %v", err)
	}
}
