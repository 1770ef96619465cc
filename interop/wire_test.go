package interop

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"

	"github.com/go-orbax/orbax/array"
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
	Shards   []shard // of an array over several processes, in an answer
	Impl     string  // of a key

	// Go is the type that Go gives a scalar, or a one-dimensional array if that
	// is to be a slice; nil for the usual one.
	Go reflect.Type
}

// mesh is a NamedSharding.
type mesh struct {
	Mesh    []int    `json:"mesh"`
	Axes    []string `json:"axes"`
	Spec    []any    `json:"spec"`              // nil, string or []any of string
	Devices []int    `json:"devices,omitempty"` // ids; nil for the first devices
}

// ids returns the ids of the devices.
func (m *mesh) ids() []int {
	if m.Devices != nil {
		return m.Devices
	}
	ids := make([]int, product(m.Mesh))
	for i := range ids {
		ids[i] = i
	}
	return ids
}

// size returns the number of devices along an axis.
func (m *mesh) size(axis string) int { return m.Mesh[slices.Index(m.Axes, axis)] }

func product(factors []int) int {
	n := 1
	for _, f := range factors {
		n *= f
	}
	return n
}

// shard is the part of an array on one device.
type shard struct {
	Device        int
	Offset, Shape []int
	Data          []byte
}

// host reports whether it is the mesh that Go records for leaves that are on no device.
func (m *mesh) host() bool {
	return slices.Equal(m.Axes, []string{"device"}) && slices.Equal(m.Mesh, []int{1}) && !slices.ContainsFunc(m.Spec, func(axes any) bool { return axes != nil })
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
	Shards   []shard         `json:"shards,omitempty"` // answers only
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
	*n = node{T: w.T, Lib: w.Lib, DType: w.DType, Sharding: w.Sharding, Shards: w.Shards, Impl: w.Impl}
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
