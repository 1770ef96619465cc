package interop

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"unsafe"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
)

// toGo returns the value that a Go program would save for the tree.
func (n *node) toGo() (any, error) {
	switch n.T {
	case "dict":
		m := make(map[string]any, len(n.Kids))
		for i, k := range n.Keys {
			v, err := n.Kids[i].toGo()
			if err != nil {
				return nil, err
			}
			m[k] = v
		}
		return m, nil
	case "intdict":
		m := make(map[int64]any, len(n.Kids))
		for i, k := range n.Keys {
			key, err := strconv.ParseInt(k, 10, 64)
			if err != nil {
				return nil, err
			}
			if m[key], err = n.Kids[i].toGo(); err != nil {
				return nil, err
			}
		}
		return m, nil
	case "list", "tuple":
		s := make([]any, len(n.Kids))
		for i, kid := range n.Kids {
			var err error
			if s[i], err = kid.toGo(); err != nil {
				return nil, err
			}
		}
		if n.T == "tuple" {
			return tree.Tuple(s), nil
		}
		return s, nil
	case "none":
		return nil, nil
	case "bool":
		return n.Bool, nil
	case "int":
		return n.integer()
	case "float":
		f := math.Float64frombits(n.Float[0])
		if n.Go != nil {
			return reflect.ValueOf(f).Convert(n.Go).Interface(), nil
		}
		return f, nil
	case "complex":
		return complex(math.Float64frombits(n.Float[0]), math.Float64frombits(n.Float[1])), nil
	case "str":
		return n.Text, nil
	case "bytes":
		return n.Data, nil
	case "array", "key":
		return n.array()
	}
	return nil, fmt.Errorf("no Go value for a node of type %q", n.T)
}

func (n *node) integer() (any, error) {
	i, ok := new(big.Int).SetString(n.Text, 10)
	switch {
	case !ok:
		return nil, fmt.Errorf("integer %q", n.Text)
	case n.Go != nil && i.IsInt64():
		return reflect.ValueOf(i.Int64()).Convert(n.Go).Interface(), nil
	case i.IsInt64():
		return int(i.Int64()), nil
	case i.IsUint64():
		return i.Uint64(), nil
	}
	return i, nil
}

func (n *node) array() (any, error) {
	name, shape := n.DType, n.Shape
	if n.T == "key" {
		name, shape = "uint32", append(slices.Clone(shape), keyWords(n.Impl))
	}
	d, err := array.ParseDType(name)
	if err != nil {
		return nil, err
	}
	a, err := array.New(d, shape, bytes.Clone(n.Data))
	if err != nil {
		return nil, err
	}
	switch {
	case n.T == "key" && n.Sharding != nil:
		return array.PRNGKey(n.Impl, a.WithSharding(n.Sharding.toGo()))
	case n.T == "key":
		return array.PRNGKey(n.Impl, a)
	case n.Go != nil:
		s := reflect.MakeSlice(n.Go, a.Len(), a.Len())
		// Not package binary, whose floats pass through registers that change
		// signaling NaNs.
		copy(unsafe.Slice((*byte)(s.UnsafePointer()), len(n.Data)), n.Data)
		return s.Interface(), nil
	case n.Sharding != nil:
		return a.WithSharding(n.Sharding.toGo()), nil
	case n.Lib == "jax":
		return a.WithSharding(sharding.SingleDevice("cpu:0")), nil
	}
	return a, nil
}

// keyWords returns the number of words of a key.
func keyWords(impl string) int {
	if impl == "threefry2x32" {
		return 2
	}
	return 4
}

func (m *mesh) toGo() *sharding.Sharding {
	g := sharding.Mesh{Shape: m.Mesh, AxisNames: m.Axes, DeviceIDs: m.ids()}
	var spec sharding.PartitionSpec
	for _, p := range m.Spec {
		var axes []string
		switch p := p.(type) {
		case string:
			axes = []string{p}
		case []any:
			for _, a := range p {
				axes = append(axes, a.(string))
			}
		}
		spec = append(spec, axes)
	}
	return sharding.Named(g, spec)
}

func meshOf(s *sharding.Sharding) *mesh {
	if s == nil || s.Mesh == nil {
		return nil
	}
	return &mesh{s.Mesh.Shape, s.Mesh.AxisNames, specOf(s.Spec), s.Mesh.DeviceIDs}
}

func specOf(spec sharding.PartitionSpec) []any {
	entries := []any{}
	for _, p := range spec {
		var entry any
		switch len(p) {
		case 0:
		case 1:
			entry = p[0]
		default:
			var axes []any
			for _, a := range p {
				axes = append(axes, a)
			}
			entry = axes
		}
		entries = append(entries, entry)
	}
	return entries
}

// fromGo returns the tree that Go has loaded.
func fromGo(v any) (*node, error) {
	switch v := v.(type) {
	case nil:
		return none(), nil
	case map[string]any:
		n := dict()
		for k, kid := range v {
			c, err := fromGo(kid)
			if err != nil {
				return nil, err
			}
			n.Keys, n.Kids = append(n.Keys, k), append(n.Kids, c)
		}
		return n, nil
	case tree.Tuple:
		if len(v) != 0 {
			return nil, fmt.Errorf("a tuple with elements came back as one")
		}
		return seq("tuple"), nil
	case []any:
		n := seq("list")
		for _, kid := range v {
			c, err := fromGo(kid)
			if err != nil {
				return nil, err
			}
			n.Kids = append(n.Kids, c)
		}
		return n, nil
	case bool:
		return boolean(v), nil
	case string:
		return text(v), nil
	case []byte:
		return byteString(v), nil
	case complex128:
		return complexNumber(v), nil
	case complex64:
		return complexNumber(complex128(v)), nil
	case *array.Array:
		if impl := v.PRNGImpl(); impl != "" {
			return &node{T: "key", Impl: impl, Shape: v.Shape()[:v.Rank()-1], Data: v.Bytes(), Sharding: meshOf(v.Sharding())}, nil
		}
		n := arrayNode("np", v)
		if v.Sharding() != nil {
			n.Lib, n.Sharding = "jax", meshOf(v.Sharding())
		}
		return n, nil
	}
	switch r := reflect.ValueOf(v); {
	case r.CanInt(), r.CanUint():
		return &node{T: "int", Text: fmt.Sprint(v)}, nil
	case r.CanFloat():
		return float(r.Float()), nil
	}
	return nil, fmt.Errorf("no node for a Go %T", v)
}
