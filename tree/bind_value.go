package tree

import (
	"fmt"
	"reflect"
	"slices"
	"unsafe"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// normalize checks that v is a value of the leaf that spec describes, in the form that
// want describes. It returns v in one of the types that Leaf lists. It converts a scalar
// that is still in its stored dtype.
func normalize(spec *Spec, want array.ShapeDtypeStruct, v any) (any, error) {
	a, isArray := v.(*array.Array)
	got := Leaf{Value: v}.Spec()
	switch {
	case got.Kind == KindArray && !isArray: // another Reader
	case spec.Kind == KindString && got.Kind == KindString:
		return v, nil
	case spec.Kind == KindBytes && got.Kind == KindBytes && want.DType == array.Uint8 && slices.Equal(got.Shape, want.Shape):
		return v, nil
	case spec.Kind == KindScalar && got.Kind == KindScalar && got.DType == want.DType:
		return v, nil
	case spec.Kind == KindScalar && len(got.Shape) == 0 && got.DType == spec.DType && spec.DType != array.Invalid:
		return castScalar(v, want.DType)
	case got.Kind != KindArray || got.DType != want.DType || !slices.Equal(got.Shape, want.Shape):
	case spec.Kind == KindScalar:
		return item(a)
	case spec.Kind == KindBytes && want.DType == array.Uint8 && len(want.Shape) == 1:
		return a.Bytes(), nil
	case spec.Kind == KindBytes, spec.Kind == KindArray:
		return a, nil
	}
	wanted := ""
	if want.DType != spec.DType || !slices.Equal(want.Shape, spec.Shape) {
		wanted = fmt.Sprintf(" (wanted as %v)", want)
	}
	return nil, fmt.Errorf("%w: the checkpoint has %v%s, and %v was read", fault.ErrCorrupt, spec, wanted, got)
}

// castScalar converts a scalar, or an array of rank 0, to dtype d.
func castScalar(v any, d array.DType) (any, error) {
	a, err := asArray(v)
	if err != nil {
		return nil, err
	}
	if a.DType() != d {
		if a, err = a.Cast(d); err != nil {
			return nil, err
		}
	}
	return item(a)
}

// item returns the element of an array of rank 0 as a scalar. An element whose type Go
// lacks stays an array.
func item(a *array.Array) (any, error) {
	if err := checkBools(a); err != nil {
		return nil, err
	}
	if v, ok := a.Item(); ok {
		return v, nil
	}
	return a, nil
}

// asArray returns a leaf's value as an array.
func asArray(v any) (*array.Array, error) {
	switch v := v.(type) {
	case *array.Array:
		return v, nil
	case []byte:
		return array.New(array.Uint8, []int{len(v)}, v)
	}
	if a := array.ScalarOf(v); a != nil {
		return a, nil
	}
	return nil, fmt.Errorf("%w: %T is not an array", fault.ErrDType, v)
}

// sliceOf returns the elements of a rank-1 array as a slice of type t.
func sliceOf(v any, t reflect.Type) (reflect.Value, error) {
	a, err := asArray(v)
	if err != nil {
		return reflect.Value{}, err
	}
	if err := checkBools(a); err != nil {
		return reflect.Value{}, err
	}
	n := a.Len()
	if n == 0 {
		return reflect.MakeSlice(t, 0, 0), nil
	}
	p := unsafe.Pointer(unsafe.SliceData(a.Bytes()))
	if uintptr(p)%uintptr(t.Elem().Align()) != 0 {
		a = a.Clone()
		p = unsafe.Pointer(unsafe.SliceData(a.Bytes()))
	}
	return reflect.SliceAt(t.Elem(), p, n).Convert(t), nil
}

// checkBools refuses memory that is not valid as Go bools.
func checkBools(a *array.Array) error {
	if a.DType() != array.Bool {
		return nil
	}
	_, err := array.Values[bool](a)
	return err
}
