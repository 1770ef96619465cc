package tree_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

// tensor is a foreign type, known by its interface.
type tensor interface{ data() []float32 }
type dense struct{ v []float32 }

func (d *dense) data() []float32 { return d.v }

type sparse struct{ N int }

func (sparse) data() []float32 { return nil }

var tensors = tree.NewAdapter(
	func(x tensor) (*array.Array, error) {
		if len(x.data()) == 13 {
			return nil, errors.New("bad luck")
		}
		return array.Of(x.data()), nil
	},
	func(a *array.Array, old tensor) (tensor, error) {
		v, err := array.Values[float32](a)
		if err != nil {
			return nil, err
		}
		if d, ok := old.(*dense); ok && d != nil {
			d.v = v
			return d, nil
		}
		return &dense{v}, nil
	})

func TestAdapter(t *testing.T) {
	in := map[string]any{"x": &dense{[]float32{1}}, "y": []tensor{nil, &dense{[]float32{2}}}, "z": (*dense)(nil)}
	leaves, err := tree.Flatten(in, tensors)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := show(leaves), "/x=float32[1]:0000803f /y[0]=None /y[1]=float32[1]:00000040 /z=None"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if _, err := tree.Flatten(&dense{make([]float32, 13)}, tensors); err == nil || !strings.Contains(err.Error(), "bad luck") {
		t.Errorf("err = %v", err)
	}
	var out struct {
		X *dense    `orbax:"x"`
		Y [2]tensor `orbax:"y"`
		Z *dense    `orbax:"z"`
	}
	keep := &dense{[]float32{9}}
	out.X = keep
	if err := load(&out, leaves, tensors); err != nil {
		t.Fatal(err)
	}
	if out.X != keep || keep.v[0] != 1 || out.Y[0] != nil || out.Y[1].data()[0] != 2 || out.Z != nil {
		t.Errorf("got %+v; want X kept and 1, Y of nothing and 2, no Z", out)
	}
	nothing := tree.NewAdapter[*dense](nil, nil)
	if _, err := tree.Flatten(in, nothing, tree.Adapter{}); !errors.Is(err, fault.ErrLeafType) {
		t.Errorf("err = %v", err)
	}
	if err := load(new(map[string]*dense), flatten(t, map[string]any{"x": array.Of([]float32{1})}), nothing); !errors.Is(err, fault.ErrLeafType) {
		t.Errorf("err = %v", err)
	}
	wrong := tree.NewAdapter(nil, func(*array.Array, tensor) (tensor, error) { return sparse{}, nil })
	if err := load(new(*dense), flatten(t, []float32{1}), wrong); !errors.Is(err, fault.ErrLeafType) {
		t.Errorf("err = %v", err)
	}
	out.X.v = []float32{1, 2, 3}
	if err := load(&out, leaves, tensors); !errors.Is(err, fault.ErrShape) {
		t.Errorf("err = %v", err)
	}
}
