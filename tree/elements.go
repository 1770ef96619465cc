package tree

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
)

// keyNamer returns the function that spells keys of type t, or nil if such keys have no
// spelling.
func keyNamer(t reflect.Type) func(reflect.Value) string {
	switch {
	case t.Kind() == reflect.String:
		return reflect.Value.String
	case reflect.Int <= t.Kind() && t.Kind() <= reflect.Int64:
		return func(v reflect.Value) string { return strconv.FormatInt(v.Int(), 10) }
	case reflect.Uint <= t.Kind() && t.Kind() <= reflect.Uintptr:
		return func(v reflect.Value) string { return strconv.FormatUint(v.Uint(), 10) }
	}
	return nil
}

// setKey sets v, a key of a map, to the key that keyNamer spells as name.
func setKey(v reflect.Value, name string) error {
	var err error
	spelled := name
	switch {
	case v.Kind() == reflect.String:
		v.SetString(name)
	case v.CanInt():
		var i int64
		i, err = strconv.ParseInt(name, 10, v.Type().Bits())
		v.SetInt(i)
		spelled = strconv.FormatInt(i, 10)
	default:
		var u uint64
		u, err = strconv.ParseUint(name, 10, v.Type().Bits())
		v.SetUint(u)
		spelled = strconv.FormatUint(u, 10)
	}
	if err != nil || spelled != name {
		return fmt.Errorf("%w: the checkpoint has the key %q, the target's keys are of type %v", fault.ErrStructure, name, v.Type())
	}
	return nil
}

// elements holds keys and values for a map in slices, so that they can be set.
type elements struct{ keys, values reflect.Value }

// makeElements returns n elements for a map of type t.
func makeElements(t reflect.Type, n int) elements {
	return elements{
		keys:   reflect.MakeSlice(reflect.SliceOf(t.Key()), n, n),
		values: reflect.MakeSlice(reflect.SliceOf(t.Elem()), n, n),
	}
}

// elementsOf returns the elements of a map, and their names in order.
func elementsOf(m reflect.Value, spell func(reflect.Value) string) (elements, []element) {
	e := makeElements(m.Type(), m.Len())
	names := make([]element, 0, m.Len())
	for it := m.MapRange(); it.Next() && len(names) < cap(names); {
		i := len(names)
		e.keys.Index(i).SetIterKey(it)
		e.values.Index(i).SetIterValue(it)
		names = append(names, element{spell(e.keys.Index(i)), i})
	}
	slices.SortFunc(names, func(a, b element) int { return strings.Compare(a.name, b.name) })
	return e, names
}

// element is the place of an element.
type element struct {
	name  string
	index int
}
