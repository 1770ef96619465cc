package tree

import (
	"fmt"
	"math/big"
	"reflect"
	"unsafe"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

var (
	abstractType    = reflect.TypeFor[array.ShapeDtypeStruct]()
	anyType         = reflect.TypeFor[any]()
	arrayType       = reflect.TypeFor[array.Array]()
	bigIntType      = reflect.TypeFor[big.Int]()
	byteType        = reflect.TypeFor[byte]()
	emptyType       = reflect.TypeFor[Empty]()
	nodeType        = reflect.TypeFor[Node]()
	placeholderType = reflect.TypeFor[placeholder]()
	readerType      = reflect.TypeFor[array.Reader]()
	shardedType     = reflect.TypeFor[*array.Sharded]()
	tupleType       = reflect.TypeFor[Tuple]()
)

// elemDType returns the dtype of a []t's elements, or array.Invalid if t is not an
// element type of arrays. A uintptr is saved as a uint.
func elemDType(t reflect.Type) array.DType {
	switch {
	case t == emptyType:
		return array.Invalid
	case t.Kind() == reflect.Uintptr:
		return array.DTypeOf[uint]()
	}
	return array.ElementDType(t)
}

// specialDType returns the dtype of an element type that package array defines because Go
// has none, and array.Invalid for all other types. Types that a program defines from
// these types count as plain integers.
func specialDType(t reflect.Type) array.DType {
	d := array.ElementDType(t)
	if d == array.Int2 || d == array.Int4 || array.Float4E2M1FN <= d && d <= array.BFloat16 || d == array.Float6E2M3FN || d == array.Float6E3M2FN {
		return d
	}
	return array.Invalid
}

// scalarDType returns the dtype that a scalar leaf is stored with, or
// array.Invalid if v is not a scalar.
func scalarDType(v any) array.DType {
	t := reflect.TypeOf(v)
	if t == nil || t.PkgPath() != "" {
		return array.Invalid
	}
	return array.ElementDType(t)
}

// scalarValue returns v as a bool, number or string of a predeclared type, without the
// name of its own type. ok is false for any other kind.
func scalarValue(v reflect.Value) (x any, ok bool) {
	switch v.Kind() {
	case reflect.String:
		return v.String(), true
	case reflect.Int:
		return int(v.Int()), true
	case reflect.Uint:
		return uint(v.Uint()), true
	}
	// The conversions of package reflect go by way of float64 and complex128, and would
	// change signaling NaNs.
	a, err := view(elemDType(v.Type()), addressable(v))
	if err != nil {
		return nil, false
	}
	return a.Item()
}

// addressable returns v itself if it is addressable, else an addressable copy.
func addressable(v reflect.Value) reflect.Value {
	if v.CanAddr() {
		return v
	}
	return settable(v)
}

// settable returns a new location that holds v.
func settable(v reflect.Value) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	return c
}

// memory returns the n elements at p, of size bytes each, as bytes.
func memory(p unsafe.Pointer, n int, size uintptr) []byte {
	if n == 0 {
		return []byte{}
	}
	return unsafe.Slice((*byte)(p), uintptr(n)*size)
}

// view returns an array over the elements of v: a slice, an addressable Go
// array or, as rank 0, an addressable number.
func view(d array.DType, v reflect.Value) (*array.Array, error) {
	switch v.Kind() {
	case reflect.Slice:
		return array.New(d, []int{v.Len()}, memory(v.UnsafePointer(), v.Len(), v.Type().Elem().Size()))
	case reflect.Array:
		return array.New(d, []int{v.Len()}, memory(v.Addr().UnsafePointer(), v.Len(), v.Type().Elem().Size()))
	}
	return array.New(d, []int{}, memory(v.Addr().UnsafePointer(), 1, v.Type().Size()))
}

// bigInt returns v as int, int64 or uint64: the first that can hold it.
func bigInt(v *big.Int) (any, error) {
	switch {
	case v.IsInt64():
		if i := v.Int64(); int64(int(i)) == i {
			return int(i), nil
		}
		return v.Int64(), nil
	case v.IsUint64():
		return v.Uint64(), nil
	}
	return nil, fmt.Errorf("%w: integer over 64 bits (%d bits)", fault.ErrLeafType, v.BitLen())
}
