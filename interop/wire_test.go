package interop

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
)

// node is a tree in the form of testdata/wire.py, which both sides are compared
// in.
type node struct {
	T    string
	Keys []string // of dict, intdict and namedtuple
	Kids []*node

	Bool  bool
	Text  string    // of str, and an int's digits
	Float [2]uint64 // bits of a float, or of a complex number's two parts
	Data  []byte    // of bytes, array and key

	Lib      string // np, jax
	DType    string
	Shape    []int
	Sharding *mesh
	Impl     string // of a key

	// Go is the type that Go gives a scalar, or a one-dimensional array if that
	// is to be a slice; nil for the usual one.
	Go reflect.Type
}

// mesh is a NamedSharding over the first devices.
type mesh struct {
	Mesh []int    `json:"mesh"`
	Axes []string `json:"axes"`
	Spec []any    `json:"spec"` // nil, string or []any of string
}

// wireNode is a node as JSON.
type wireNode struct {
	T        string          `json:"t"`
	Items    json.RawMessage `json:"items,omitempty"`
	V        json.RawMessage `json:"v,omitempty"`
	Lib      string          `json:"lib,omitempty"`
	DType    string          `json:"dtype,omitempty"`
	Shape    *[]int          `json:"shape,omitempty"`
	Data     *[]byte         `json:"data,omitempty"`
	Sharding *mesh           `json:"sharding,omitempty"`
	Impl     string          `json:"impl,omitempty"`
	Class    string          `json:"class,omitempty"`
	Repr     string          `json:"repr,omitempty"`
}

func (n *node) MarshalJSON() ([]byte, error) {
	w := wireNode{T: n.T, Lib: n.Lib, DType: n.DType, Sharding: n.Sharding, Impl: n.Impl}
	var items, v any
	switch n.T {
	case "dict", "intdict":
		pairs := make([][2]any, len(n.Keys))
		for i, k := range n.Keys {
			pairs[i] = [2]any{k, n.Kids[i]}
			if n.T == "intdict" {
				pairs[i][0] = json.RawMessage(k)
			}
		}
		items = pairs
	case "list", "tuple":
		items = append([]*node{}, n.Kids...)
	case "bool":
		v = n.Bool
	case "int", "str":
		v = n.Text
	case "float":
		v = hexBits(n.Float[0])
	case "complex":
		v = []string{hexBits(n.Float[0]), hexBits(n.Float[1])}
	case "bytes":
		v = append([]byte{}, n.Data...)
	case "array", "key":
		shape, data := append([]int{}, n.Shape...), append([]byte{}, n.Data...)
		w.Shape, w.Data = &shape, &data
	}
	var err error
	if items != nil {
		w.Items, err = json.Marshal(items)
	}
	if err == nil && v != nil {
		w.V, err = json.Marshal(v)
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(w)
}

func hexBits(b uint64) string { return fmt.Sprintf("%016x", b) }

func parseBits(s string) (uint64, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 8 {
		return 0, fmt.Errorf("float %q: %v", s, err)
	}
	return binary.BigEndian.Uint64(b), nil
}

func (n *node) UnmarshalJSON(doc []byte) error {
	var w wireNode
	if err := json.Unmarshal(doc, &w); err != nil {
		return err
	}
	*n = node{T: w.T, Lib: w.Lib, DType: w.DType, Sharding: w.Sharding, Impl: w.Impl}
	if w.Shape != nil {
		n.Shape = *w.Shape
	}
	if w.Data != nil {
		n.Data = *w.Data
	}
	switch w.T {
	case "dict", "intdict", "namedtuple":
		var pairs [][2]json.RawMessage
		if err := json.Unmarshal(w.Items, &pairs); err != nil {
			return err
		}
		for _, p := range pairs {
			key, kid := string(p[0]), &node{}
			if w.T != "intdict" {
				if err := json.Unmarshal(p[0], &key); err != nil {
					return err
				}
			}
			if err := json.Unmarshal(p[1], kid); err != nil {
				return err
			}
			n.Keys, n.Kids = append(n.Keys, key), append(n.Kids, kid)
		}
		return nil
	case "list", "tuple":
		return json.Unmarshal(w.Items, &n.Kids)
	case "bool":
		return json.Unmarshal(w.V, &n.Bool)
	case "int", "str":
		return json.Unmarshal(w.V, &n.Text)
	case "float":
		var s string
		err := json.Unmarshal(w.V, &s)
		if err == nil {
			n.Float[0], err = parseBits(s)
		}
		return err
	case "complex":
		var s [2]string
		err := json.Unmarshal(w.V, &s)
		for i := range s {
			if err == nil {
				n.Float[i], err = parseBits(s[i])
			}
		}
		return err
	case "bytes":
		return json.Unmarshal(w.V, &n.Data)
	case "other":
		n.Text = w.Class + " " + w.Repr
	}
	return nil
}

// Shorthands to write trees with.

func dict(pairs ...any) *node {
	n := &node{T: "dict"}
	for i := 0; i < len(pairs); i += 2 {
		n.Keys, n.Kids = append(n.Keys, pairs[i].(string)), append(n.Kids, pairs[i+1].(*node))
	}
	return n
}

func seq(t string, kids ...*node) *node { return &node{T: t, Kids: kids} }
func none() *node                       { return &node{T: "none"} }
func boolean(v bool) *node              { return &node{T: "bool", Bool: v} }
func integer(v int64) *node             { return &node{T: "int", Text: strconv.FormatInt(v, 10)} }
func text(s string) *node               { return &node{T: "str", Text: s} }
func byteString(b []byte) *node         { return &node{T: "bytes", Data: b} }

func float(v float64) *node { return &node{T: "float", Float: [2]uint64{math.Float64bits(v)}} }

func complexNumber(v complex128) *node {
	return &node{T: "complex", Float: [2]uint64{math.Float64bits(real(v)), math.Float64bits(imag(v))}}
}

func arrayNode(lib string, a *array.Array) *node {
	return &node{T: "array", Lib: lib, DType: a.DType().String(), Shape: a.Shape(), Data: a.Bytes()}
}

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
		words := 1
		for _, d := range shape {
			words *= d
		}
		name, shape = "uint32", append(slices.Clone(shape), len(n.Data)/4/words)
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
	case n.T == "key":
		return array.PRNGKey(n.Impl, a)
	case n.Go != nil:
		s := reflect.MakeSlice(n.Go, a.Len(), a.Len())
		_, err := binary.Decode(n.Data, binary.LittleEndian, s.Interface())
		return s.Interface(), err
	case n.Sharding != nil:
		return a.WithSharding(n.Sharding.toGo()), nil
	case n.Lib == "jax":
		return a.WithSharding(sharding.SingleDevice("cpu:0")), nil
	}
	return a, nil
}

func (m *mesh) toGo() *sharding.Sharding {
	devices := 1
	for _, d := range m.Mesh {
		devices *= d
	}
	g := sharding.Mesh{Shape: m.Mesh, AxisNames: m.Axes}
	for i := range devices {
		g.DeviceIDs = append(g.DeviceIDs, i)
	}
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
	m := &mesh{Mesh: s.Mesh.Shape, Axes: s.Mesh.AxisNames, Spec: []any{}}
	for _, p := range s.Spec {
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
		m.Spec = append(m.Spec, entry)
	}
	return m
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
			return &node{T: "key", Impl: impl, Shape: v.Shape()[:v.Rank()-1], Data: v.Bytes()}, nil
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

// mapLeaves returns the tree with every node without kids replaced by what f
// returns for a copy of it, and containers as they are.
func (n *node) mapLeaves(f func(*node) *node) *node {
	c := *n
	if len(c.Kids) == 0 {
		return f(&c)
	}
	c.Kids = make([]*node, len(n.Kids))
	for i, kid := range n.Kids {
		c.Kids[i] = kid.mapLeaves(f)
	}
	return &c
}

// any reports whether f holds for a node of the tree.
func (n *node) any(f func(*node) bool) bool {
	return f(n) || slices.ContainsFunc(n.Kids, func(kid *node) bool { return kid.any(f) })
}

// plain returns the tree as a load without a target gives it: the checkpoint
// does not know of integer keys and of tuples that have elements.
func (n *node) plain() *node {
	c := *n
	switch {
	case c.T == "intdict":
		c.T = "dict"
	case c.T == "tuple" && len(c.Kids) > 0:
		c.T = "list"
	}
	c.Kids = nil
	for _, kid := range n.Kids {
		c.Kids = append(c.Kids, kid.plain())
	}
	return &c
}

// inPython returns the tree with the leaves that Python has for those of Go:
// arrays for byte strings and complex numbers.
func (n *node) inPython() *node {
	return n.mapLeaves(func(l *node) *node {
		switch l.T {
		case "bytes":
			return &node{T: "array", Lib: "np", DType: "uint8", Shape: []int{len(l.Data)}, Data: l.Data}
		case "complex":
			var b []byte
			for _, part := range l.Float {
				b = binary.LittleEndian.AppendUint64(b, part)
			}
			return &node{T: "array", Lib: "np", DType: "complex128", Shape: []int{}, Data: b}
		}
		return l
	})
}

// diff returns the differences of two trees, one a line; "" if there are none.
func diff(want, got *node) string {
	var b strings.Builder
	diffAt(&b, "root", want, got)
	return b.String()
}

func diffAt(b *strings.Builder, at string, want, got *node) {
	if want.T != got.T || len(want.Kids) != len(got.Kids) {
		fmt.Fprintf(b, "%s: want %v, got %v\n", at, want, got)
		return
	}
	switch want.T {
	case "dict", "intdict", "namedtuple":
		for i, k := range want.Keys {
			j := slices.Index(got.Keys, k)
			if j < 0 {
				fmt.Fprintf(b, "%s: want key %q, got %q\n", at, k, got.Keys)
				continue
			}
			diffAt(b, fmt.Sprintf("%s[%q]", at, k), want.Kids[i], got.Kids[j])
		}
	case "list", "tuple":
		for i := range want.Kids {
			diffAt(b, fmt.Sprintf("%s[%d]", at, i), want.Kids[i], got.Kids[i])
		}
	default:
		if w, g := want.String(), got.String(); w != g {
			fmt.Fprintf(b, "%s: want %s, got %s\n", at, w, g)
		}
	}
}

// String describes a leaf, all of it: equal leaves have equal strings.
func (n *node) String() string {
	switch n.T {
	case "bool":
		return fmt.Sprint(n.Bool)
	case "int":
		return n.Text
	case "str", "other":
		return fmt.Sprintf("%s %q", n.T, n.Text)
	case "float":
		return fmt.Sprintf("float %v (%x)", math.Float64frombits(n.Float[0]), n.Float[0])
	case "complex":
		return fmt.Sprintf("complex %x", n.Float)
	case "bytes":
		return fmt.Sprintf("bytes %x", n.Data)
	case "array":
		s := fmt.Sprintf("%s %s%v", n.Lib, n.DType, n.Shape)
		if n.Sharding != nil {
			s += fmt.Sprintf(" over %v%v %v", n.Sharding.Axes, n.Sharding.Mesh, n.Sharding.Spec)
		}
		return fmt.Sprintf("%s %x", s, n.Data)
	case "key":
		return fmt.Sprintf("key %s%v %x", n.Impl, n.Shape, n.Data)
	}
	return fmt.Sprintf("%s%q of %d", n.T, n.Keys, len(n.Kids))
}
