// Package tree turns Go values into leaves with key paths, and fills Go values
// from such leaves.
//
// A checkpoint holds a tree: dicts, sequences and leaves. [Flatten] walks any Go
// value (maps, structs, slices, pointers, types that implement [Node]) and lists
// its leaves:
//
//	leaves, err := tree.Flatten(map[string]any{"w": w, "opt": tree.Tuple{mu, nu}})
//	// leaves[0].Path.String() == "opt.0"
//
// Loading goes the other way in two forms. [Build] makes plain maps and slices
// of the leaves. [Bind] matches what a checkpoint holds with a value of the
// caller's and says, before any data is read, where each leaf goes;
// [BindAbstract] does so for a new tree that is described without data. A
// [Pattern] selects leaves by name.
//
// # Which Go value is which tree
//
//   - A map with string or integer keys is a dict; integers become decimal keys.
//   - A struct is a dict of its exported fields, named by the tag
//     `orbax:"name,omitempty"`, else by the field's name in its exact case;
//     `orbax:"-"` leaves a field out. Embedded structs without a name are inlined
//     by the rules of encoding/json, so that an embedded nil pointer has no
//     fields; where those rules drop ambiguous fields, the type is refused. A
//     blank field `_ struct{}` tagged `orbax:",seq"` makes the struct a sequence of
//     its fields in their order, where embedded structs are elements. A struct
//     that has unexported fields only is refused.
//   - omitempty changes the tree: a field that is false, 0, nil or of length 0 is
//     not saved, and loading a checkpoint without it makes the field zero.
//   - Slices and Go arrays of numbers and bools are rank-1 arrays, []byte is a
//     byte string, all other slices and arrays are sequences, as is [Tuple].
//   - *array.Array, numbers, bools, strings and *big.Int are leaves. The element
//     types of package array (array.BF16 …) are arrays of rank 0.
//   - Every other type that implements array.Reader, as *array.Section does, is an
//     array that is read as it is saved, and nothing can be loaded into it. This
//     comes before all rules but that on adapters. A struct that only embeds an
//     Array or Reader is a struct all the same.
//   - Pointers and interfaces are followed. Nil ones, nil maps and nil slices are
//     [None]; containers without elements are [EmptyDict], [EmptyList] or
//     [EmptyTuple]; an empty slice of numbers is an array of shape (0). A value of
//     type [Empty] stands for itself.
//
// All problems of a value are reported at once: the error joins one
// *orbax.LeafError for each, in the order of their paths.
package tree

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-orbax/orbax/array"
)

// Key is one step of a path: a key of a dict (key_type 2 in a checkpoint's
// metadata), or with Seq a position in a sequence (key_type 1), whose Name is
// the decimal index. Tuple marks the positions of a tuple, where that is known;
// it matters to [Build] alone.
type Key struct {
	Name  string
	Seq   bool
	Tuple bool
}

// Path leads from the root of a tree to a node. The root's path is empty.
type Path []Key

// String returns the keys joined with dots: the name that Orbax gives the
// leaf's parameter. Different paths may have the same name, see [Flatten].
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

// Compare orders paths as Flatten lists them: dict keys by their bytes,
// positions by number, a path before those below it.
func (p Path) Compare(q Path) int {
	return slices.CompareFunc(p, q, func(a, b Key) int {
		if a.Seq && b.Seq && len(a.Name) != len(b.Name) {
			return len(a.Name) - len(b.Name)
		}
		return strings.Compare(a.Name, b.Name)
	})
}

// ID returns the keys quoted, with spaces between. Two different paths that have the same
// String have different IDs. It makes no difference whether a key is a position in a
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

// Tuple is a sequence. An empty Tuple is saved as an empty tuple, an empty slice as an
// empty list; with elements, most checkpoints store both alike.
type Tuple []any

// Empty is the value of a leaf that has no data.
type Empty uint8

// The empty values, which a checkpoint's metadata calls None, Dict, List and
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

// value returns what an empty value is in Go when nothing says otherwise.
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

// Leaf is a leaf of a tree. Value is one of
//
//   - *array.Array or another array.Reader, never nil; Bind gives Arrays only
//   - bool, int, int8 … int64, uint, uint8 … uint64, float32, float64,
//     complex64, complex128: a scalar, named types reduced to these
//   - string, which is valid UTF-8
//   - []byte, never nil
//   - Empty
type Leaf struct {
	Path  Path
	Value any
}

// Kind says what sort of value a checkpoint holds at a leaf.
type Kind uint8

// The kinds of leaves.
const (
	KindInvalid Kind = iota
	KindArray        // an array with DType and Shape
	KindScalar       // a number or bool with DType
	KindString
	KindBytes // a byte string, stored as a uint8 array of Shape (n)
	KindEmpty // no data; Empty says which
)

// Spec is what a checkpoint holds at one leaf, without the data.
type Spec struct {
	Path  Path
	Kind  Kind
	DType array.DType // of an array, scalar or byte string
	Shape []int       // of an array or byte string
	Empty Empty
	// Err says why the leaf cannot be read, if it is damaged or has a form that is not
	// known; everything except its Path may be unknown then. Bind returns this error if
	// the target wants the leaf, and passes the leaf over otherwise.
	Err error
}

// Spec describes the leaf's value. Its Kind is KindInvalid if the value is
// none that a Leaf may have.
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

// String describes what the checkpoint holds, for messages.
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

// Node is implemented by types that choose their own form in a checkpoint, as
// registered pytree nodes do in Python. The methods are usually those of a
// pointer type; a value of the type is then a node as well.
type Node interface {
	// TreeFlatten returns the value that is saved in place of the node: a map,
	// struct, Tuple, slice, leaf, or another node. It may share the node's memory.
	TreeFlatten() (any, error)

	// TreeUnflatten takes what was loaded. On load TreeFlatten is called first, and
	// what it returns is the template that is filled and passed here, with the same
	// type; if it returns nil, children is as saved: map[string]any, []any or a
	// leaf's value. Nodes inside of children are complete.
	TreeUnflatten(children any) error
}
