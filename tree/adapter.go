package tree

import (
	"fmt"
	"reflect"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// Adapter makes a foreign type a leaf ([NewAdapter]) or a node ([NewNodeAdapter]).
type Adapter struct {
	typ       reflect.Type
	toArray   func(reflect.Value) (*array.Array, error)
	fromArray func(*array.Array, reflect.Value) (reflect.Value, error)
	// The functions of a node:
	flatten   func(reflect.Value) (any, error)
	unflatten func(any, reflect.Value) (reflect.Value, error)
}

// NewAdapter returns an adapter that makes values of type T leaves. If T is an interface,
// the adapter is for all types that implement it.
//
// toArray returns the array to save, which may share the tensor's memory; a nil array is
// saved as None. fromArray returns the value that replaces old in the target of the load;
// old is the zero T if the target holds nothing. fromArray may change old and return it,
// and it may keep the array a. If toArray is nil, saves of such values fail; if fromArray
// is nil, loads do. The errors match orbax.ErrLeafType. Several goroutines may call both
// functions at the same time.
func NewAdapter[T any](toArray func(T) (*array.Array, error), fromArray func(a *array.Array, old T) (T, error)) Adapter {
	typ := reflect.TypeFor[T]()
	if toArray == nil {
		toArray = func(T) (*array.Array, error) {
			return nil, fmt.Errorf("%w: the adapter for %v cannot save", fault.ErrLeafType, typ)
		}
	}
	if fromArray == nil {
		fromArray = func(_ *array.Array, old T) (T, error) {
			return old, fmt.Errorf("%w: the adapter for %v cannot load", fault.ErrLeafType, typ)
		}
	}
	return Adapter{
		typ:     typ,
		toArray: func(v reflect.Value) (*array.Array, error) { return toArray(castTo[T](v)) },
		fromArray: func(a *array.Array, old reflect.Value) (reflect.Value, error) {
			t, err := fromArray(a, castTo[T](old))
			return castFrom(t, old, err)
		},
	}
}

// NewNodeAdapter returns an adapter that makes values of type T nodes. It saves the value
// that flatten returns in place of the T, as [Node] does for a program's own types and
// jax.tree_util.register_pytree_node does in Python. If T is an interface, the adapter is
// for all types that implement it.
//
// On load, unflatten gets the children that were loaded and returns the value that
// replaces old, which is the value in the target. It may change old and return it. If old
// is not nil, the load first calls flatten(old) and fills the value that flatten returns.
// If old or that value is nil, children is as saved: map[string]any, []any or a leaf's
// value.
//
// nil values are saved as None. If flatten is nil, saves of such values fail, and so do
// loads over values that are not nil; if unflatten is nil, all loads fail. The errors
// match orbax.ErrLeafType. Several goroutines may call both functions at the same time.
func NewNodeAdapter[T any](flatten func(T) (any, error), unflatten func(children any, old T) (T, error)) Adapter {
	typ := reflect.TypeFor[T]()
	if flatten == nil {
		flatten = func(T) (any, error) {
			return nil, fmt.Errorf("%w: the adapter for %v cannot save", fault.ErrLeafType, typ)
		}
	}
	if unflatten == nil {
		unflatten = func(_ any, old T) (T, error) {
			return old, fmt.Errorf("%w: the adapter for %v cannot load", fault.ErrLeafType, typ)
		}
	}
	return Adapter{
		typ:     typ,
		flatten: func(v reflect.Value) (any, error) { return flatten(castTo[T](v)) },
		unflatten: func(children any, old reflect.Value) (reflect.Value, error) {
			t, err := unflatten(children, castTo[T](old))
			return castFrom(t, old, err)
		},
	}
}

// castTo returns v as a T; a nil interface is the zero T.
func castTo[T any](v reflect.Value) T {
	t, _ := v.Interface().(T)
	return t
}

// castFrom returns the value that an adapter for T returned, ready to replace old.
func castFrom[T any](t T, old reflect.Value, err error) (reflect.Value, error) {
	if err != nil {
		return reflect.Value{}, err
	}
	v := reflect.ValueOf(&t).Elem()
	if v.Kind() == reflect.Interface {
		if v.IsNil() {
			return reflect.Zero(old.Type()), nil
		}
		v = v.Elem()
	}
	if !v.Type().AssignableTo(old.Type()) {
		return reflect.Value{}, fmt.Errorf("%w: the adapter gave a %v, the target is a %v", fault.ErrLeafType, v.Type(), old.Type())
	}
	return v, nil
}

// types holds the facts that one call of Flatten or Bind has found about types.
type types struct {
	adapters []Adapter
	adapted  map[reflect.Type]*Adapter // nil entry: no adapter
	structs  map[reflect.Type]*structInfo
	readers  map[reflect.Type]readerForm
}

func newTypes(adapters []Adapter) types {
	return types{
		adapters: adapters,
		adapted:  map[reflect.Type]*Adapter{},
		structs:  map[reflect.Type]*structInfo{},
		readers:  map[reflect.Type]readerForm{},
	}
}

// adapter returns the adapter for values of static type t, or nil. The last adapter given
// for t itself comes first, then the last for an interface that t implements.
func (ts *types) adapter(t reflect.Type) *Adapter {
	if len(ts.adapters) == 0 {
		return nil
	}
	if a, ok := ts.adapted[t]; ok {
		return a
	}
	var found *Adapter
	for i := range ts.adapters {
		a := &ts.adapters[i]
		if a.typ == nil {
			continue // the zero Adapter
		}
		if a.typ == t {
			found = a
		} else if (found == nil || found.typ != t) && a.typ.Kind() == reflect.Interface && t.Kind() != reflect.Interface && t.Implements(a.typ) {
			found = a
		}
	}
	ts.adapted[t] = found
	return found
}

// isLeafOrNode reports whether t is more than the sum of its fields, so that an
// embedded t is not inlined.
func (ts *types) isLeafOrNode(t reflect.Type) bool {
	return t == bigIntType || t == arrayType || ts.readerForm(t) != notReader || t.Implements(nodeType) || reflect.PointerTo(t).Implements(nodeType) ||
		ts.adapter(t) != nil || ts.adapter(reflect.PointerTo(t)) != nil
}
