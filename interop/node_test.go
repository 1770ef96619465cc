package interop

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"
)

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

// shortHex returns the data, or, if it is long, its beginning and digest.
func shortHex(b []byte) string {
	if len(b) <= 256 {
		return hex.EncodeToString(b)
	}
	return fmt.Sprintf("%x… (SHA-256 %x)", b[:64], sha256.Sum256(b))
}

// String describes where the mesh is; "" for the host's.
func (m *mesh) String() string {
	if m == nil || m.host() {
		return ""
	}
	spec := m.Spec
	for len(spec) > 0 && spec[len(spec)-1] == nil { // as if it were left out
		spec = spec[:len(spec)-1]
	}
	return fmt.Sprintf(" over %v%v of %v %v", m.Axes, m.Mesh, m.ids(), spec)
}

// String describes a leaf: equal leaves have equal strings, others differ.
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
		return "bytes " + shortHex(n.Data)
	case "array":
		return fmt.Sprintf("%s %s%v%v %s", n.Lib, n.DType, n.Shape, n.Sharding, shortHex(n.Data))
	case "key":
		return fmt.Sprintf("key %s%v%v %s", n.Impl, n.Shape, n.Sharding, shortHex(n.Data))
	}
	return fmt.Sprintf("%s%q of %d", n.T, n.Keys, len(n.Kids))
}

// count returns the number of nodes of the tree for which f holds.
func (n *node) count(f func(*node) bool) (count int) {
	n.any(func(n *node) bool {
		if f(n) {
			count++
		}
		return false
	})
	return count
}
