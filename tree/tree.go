// Package tree turns Go values into leaves with key paths, and fills Go values from such
// leaves.
//
// A checkpoint holds a tree: dicts, sequences and leaves. [Flatten] walks any Go value
// (maps, structs, slices, pointers, types that implement [Node]) and lists its leaves:
//
//	leaves, err := tree.Flatten(map[string]any{"w": w, "opt": tree.Tuple{mu, nu}})
//	// leaves[0].Path.String() == "opt.0"
//
// Three functions go the other way. [Build] makes plain maps and slices from the leaves.
// [Bind] compares the leaves of a checkpoint with a value of the caller and says, before
// any data is read, where each leaf goes. [BindAbstract] does so for a new tree that is
// described without data. A [Pattern] selects leaves by name.
//
// # Which Go value is which tree
//
//   - A map with string or integer keys is a dict; integers become decimal keys.
//   - A struct is a dict of its exported fields. The tag `orbax:"name,omitempty"` names a
//     field; without a tag the key is the field's name in its exact case. `orbax:"-"`
//     leaves a field out. Embedded structs without a name are inlined by the rules of
//     encoding/json, so an embedded nil pointer has no fields. Where encoding/json would
//     drop ambiguous fields without an error, the type is refused. A struct that has
//     unexported fields only is refused too.
//   - A struct with a blank field `_ struct{}` tagged `orbax:",seq"` is a sequence of its
//     fields in their order. Embedded structs are elements of it.
//   - omitempty changes the tree: a field that is false, 0, nil or of length 0 is not
//     saved, and loading a checkpoint without it makes the field zero.
//   - Slices and Go arrays of numbers and bools are rank-1 arrays, and []byte is a byte
//     string. All other slices and arrays are sequences, as is [Tuple].
//   - *array.Array, numbers, bools, strings and *big.Int are leaves. Values of the
//     element types of package array ([array.BF16] and others) are arrays of rank 0.
//   - Every other type that implements [array.Reader], as *array.Section does, is an
//     array. A save reads it piece by piece, and a load cannot fill it. This rule comes
//     before all others except the rule on adapters. A struct that only embeds an Array
//     or Reader is still a struct.
//   - Pointers and interfaces are followed. Nil pointers, interfaces, maps and slices are
//     [None]. Containers without elements are [EmptyDict], [EmptyList] or [EmptyTuple].
//     An empty slice of numbers is an array of shape (0). A value of type [Empty] stands
//     for itself.
//
// A value's problems are all reported at once: the error joins one *orbax.LeafError for
// each, in the order of their paths.
package tree

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-orbax/orbax/array"
)

// Key is one step of a path: a key of a dict, or a position in a sequence if Seq is set.
// In a checkpoint's metadata a dict key has key_type 2 and a position has key_type 1. The
// Name of a position is the decimal index. Tuple marks the positions of a tuple, where
// that is known; only [Build] uses it.
type Key struct {
	Name  string
	Seq   bool
	Tuple bool
}

// Path is the list of keys that lead from the root of a tree to a node. The root's path
// is empty.
type Path []Key

// String returns the keys joined with dots, which is the name that Orbax gives the leaf's
// parameter. Different paths may have the same name; see [Flatten].
func (p Path) String() string {
	switch len(p) {
	case 0:
		return ""
	case 1:
		return p[0].Name
	}
	n := len(p) - 1
	for _, k := range p {
		n += len(k.Name)
	}
	var b strings.Builder
	b.Grow(n)
	for i, k := range p {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(k.Name)
	}
	return b.String()
}

// Compare orders paths as [Flatten] lists them: dict keys by their bytes, positions by
// number, and a path before the paths below it.
func (p Path) Compare(q Path) int {
	return slices.CompareFunc(p, q, func(a, b Key) int {
		if a.Seq && b.Seq && len(a.Name) != len(b.Name) {
			return len(a.Name) - len(b.Name)
		}
		return strings.Compare(a.Name, b.Name)
	})
}

// ID returns the keys quoted, with spaces between them. Different paths have different
// IDs, also where [Path.String] is the same. ID ignores whether a key is a position in a
// sequence.
func (p Path) ID() string {
	var b []byte
	for i, k := range p {
		if i > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendQuote(b, k.Name)
	}
	return string(b)
}

// keys shows the path key by key, for messages.
func (p Path) keys() string { return "[" + p.ID() + "]" }

// Tuple is a sequence that Python knows as a tuple. An empty Tuple is saved as an empty
// tuple, and an empty slice as an empty list; most checkpoints do not distinguish the two
// if they have elements.
type Tuple []any

// Empty is the value of a leaf that has no data.
type Empty uint8

// These are the empty values. A checkpoint's metadata calls them None, Dict, List and
// Tuple.
const (
	None Empty = iota
	EmptyDict
	EmptyList
	EmptyTuple
)

// String returns Orbax's value type: "None", "Dict", "List" or "Tuple".
func (e Empty) String() string {
	switch e {
	case None:
		return "None"
	case EmptyDict:
		return "Dict"
	case EmptyList:
		return "List"
	case EmptyTuple:
		return "Tuple"
	}
	return fmt.Sprintf("Empty(%d)", uint8(e))
}

// value returns the Go value of an empty leaf, for targets that name no type.
func (e Empty) value() any {
	switch e {
	case EmptyDict:
		return map[string]any{}
	case EmptyList:
		return []any{}
	case EmptyTuple:
		return Tuple{}
	}
	return nil
}

// Leaf is a leaf of a tree. Value has one of these types:
//
//   - *array.Array or another [array.Reader], never nil; [Bind] gives Arrays only
//   - bool, int, int8 … int64, uint, uint8 … uint64, float32, float64, complex64,
//     complex128: a scalar; named types are reduced to these
//   - string, which is valid UTF-8
//   - []byte, never nil
//   - [Empty]
type Leaf struct {
	Path  Path
	Value any
}

// Kind is the sort of value that a checkpoint holds at a leaf.
type Kind uint8

// These are the kinds of leaves.
const (
	KindInvalid Kind = iota
	KindArray        // an array with DType and Shape
	KindScalar       // a number or bool with DType
	KindString
	KindBytes // a byte string, stored as a uint8 array of Shape (n)
	KindEmpty // no data; Empty says which
)

// Spec describes one leaf of a checkpoint, without its data.
type Spec struct {
	Path  Path
	Kind  Kind
	DType array.DType // of an array, scalar or byte string
	Shape []int       // of an array or byte string
	Empty Empty
	// Err is the reason why the leaf cannot be read: it is damaged, or its form is
	// unknown. Everything except Path may be unknown then. Bind returns Err if the target
	// wants the leaf, and skips the leaf otherwise.
	Err error
}

// Spec describes the leaf's value. Its Kind is [KindInvalid] if the value has none of the
// types that [Leaf] lists.
func (l Leaf) Spec() Spec {
	s := Spec{Path: l.Path}
	switch v := l.Value.(type) {
	case *array.Array:
		if v != nil {
			s.Kind, s.DType, s.Shape = KindArray, v.DType(), v.Shape()
		}
	case array.Reader:
		if !isNil(reflect.ValueOf(v)) {
			s.Kind, s.DType, s.Shape = KindArray, v.DType(), v.Shape()
		}
	case string:
		s.Kind = KindString
	case []byte:
		s.Kind, s.DType, s.Shape = KindBytes, array.Uint8, []int{len(v)}
	case Empty:
		s.Kind, s.Empty = KindEmpty, v
	default:
		if d := scalarDType(v); d != array.Invalid {
			s.Kind, s.DType = KindScalar, d
		}
	}
	return s
}

// String describes the leaf for messages.
func (s Spec) String() string {
	switch s.Kind {
	case KindArray:
		return fmt.Sprintf("an array %v%v", s.DType, s.Shape)
	case KindScalar:
		return fmt.Sprintf("a scalar %v", s.DType)
	case KindString:
		return "a string"
	case KindBytes:
		return fmt.Sprintf("a byte string %v", s.Shape)
	case KindEmpty:
		switch s.Empty {
		case EmptyDict:
			return "an empty dict"
		case EmptyList, EmptyTuple:
			return "an empty sequence"
		}
		return "None"
	}
	return "an unknown value"
}

// Node is implemented by types that choose their own form in a checkpoint, as registered
// pytree nodes do in Python. The methods usually have a pointer receiver; a value of the
// type is then a node as well.
type Node interface {
	// TreeFlatten returns the value that is saved in place of the node: a map, struct,
	// Tuple, slice, leaf, or another node. It may share the node's memory.
	TreeFlatten() (any, error)

	// TreeUnflatten takes the children that were loaded. A load calls TreeFlatten first,
	// fills the value that it returns, and passes that value here with the same type. If
	// TreeFlatten returns nil, children is as saved: map[string]any, []any or a leaf's
	// value. Nodes inside children are complete.
	TreeUnflatten(children any) error
}

// placeName returns the name of a node for a message.
func placeName(p Path) string {
	if len(p) == 0 {
		return "the root"
	}
	return fmt.Sprintf("%q", p)
}
