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
	anyType     = reflect.TypeFor[any]()
	arrayType   = reflect.TypeFor[array.Array]()
	sectionType = reflect.TypeFor[array.Section]()
	bigIntType  = reflect.TypeFor[big.Int]()
	byteType    = reflect.TypeFor[byte]()
	emptyType   = reflect.TypeFor[Empty]()
	nodeType    = reflect.TypeFor[Node]()
	tupleType   = reflect.TypeFor[Tuple]()
)

// elemDType returns the dtype of a []t's elements, or array.Invalid if t is
// not the type of an array's element.
func elemDType(t reflect.Type) array.DType {
	if d := specialDType(t); d != array.Invalid || t == emptyType {
		return d
	}
	switch t.Kind() {
	case reflect.Bool:
		return array.Bool
	case reflect.Int8:
		return array.Int8
	case reflect.Int16:
		return array.Int16
	case reflect.Int32:
		return array.Int32
	case reflect.Int64:
		return array.Int64
	case reflect.Uint8:
		return array.Uint8
	case reflect.Uint16:
		return array.Uint16
	case reflect.Uint32:
		return array.Uint32
	case reflect.Uint64:
		return array.Uint64
	case reflect.Int:
		if t.Size() == 4 {
			return array.Int32
		}
		return array.Int64
	case reflect.Uint, reflect.Uintptr:
		if t.Size() == 4 {
			return array.Uint32
		}
		return array.Uint64
	case reflect.Float32:
		return array.Float32
	case reflect.Float64:
		return array.Float64
	case reflect.Complex64:
		return array.Complex64
	case reflect.Complex128:
		return array.Complex128
	}
	return array.Invalid
}

// specialDTypes are the element types that package array defines because Go
// has none. Types that a program defines from them count as plain integers.
var specialDTypes = map[reflect.Type]array.DType{
	reflect.TypeFor[array.BF16]():          array.BFloat16,
	reflect.TypeFor[array.F16]():           array.Float16,
	reflect.TypeFor[array.F8E3M4]():        array.Float8E3M4,
	reflect.TypeFor[array.F8E4M3B11FNUZ](): array.Float8E4M3B11FNUZ,
	reflect.TypeFor[array.F8E4M3FN]():      array.Float8E4M3FN,
	reflect.TypeFor[array.F8E4M3FNUZ]():    array.Float8E4M3FNUZ,
	reflect.TypeFor[array.F8E5M2]():        array.Float8E5M2,
	reflect.TypeFor[array.F8E5M2FNUZ]():    array.Float8E5M2FNUZ,
	reflect.TypeFor[array.F8E8M0FNU]():     array.Float8E8M0FNU,
	reflect.TypeFor[array.F4E2M1FN]():      array.Float4E2M1FN,
	reflect.TypeFor[array.I2]():            array.Int2,
	reflect.TypeFor[array.I4]():            array.Int4,
}

// specialDType returns the dtype of a special element type, array.Invalid for
// all other types.
func specialDType(t reflect.Type) array.DType {
	if t.PkgPath() == "" {
		return array.Invalid
	}
	return specialDTypes[t]
}

// scalarDType returns the dtype that a scalar leaf is stored with, or
// array.Invalid if v is not a scalar.
func scalarDType(v any) array.DType {
	switch v.(type) {
	case bool:
		return array.Bool
	case int8:
		return array.Int8
	case int16:
		return array.Int16
	case int32:
		return array.Int32
	case int, int64:
		return array.Int64
	case uint8:
		return array.Uint8
	case uint16:
		return array.Uint16
	case uint32:
		return array.Uint32
	case uint, uint64:
		return array.Uint64
	case float32:
		return array.Float32
	case float64:
		return array.Float64
	case complex64:
		return array.Complex64
	case complex128:
		return array.Complex128
	}
	return array.Invalid
}

// scalarValue returns v without its name: a bool, number or string of a
// predeclared type. ok is false for any other kind.
func scalarValue(v reflect.Value) (x any, ok bool) {
	switch v.Kind() {
	case reflect.Bool:
		return v.Bool(), true
	case reflect.Int:
		return int(v.Int()), true
	case reflect.Int8:
		return int8(v.Int()), true
	case reflect.Int16:
		return int16(v.Int()), true
	case reflect.Int32:
		return int32(v.Int()), true
	case reflect.Int64:
		return v.Int(), true
	case reflect.Uint:
		return uint(v.Uint()), true
	case reflect.Uint8:
		return uint8(v.Uint()), true
	case reflect.Uint16:
		return uint16(v.Uint()), true
	case reflect.Uint32:
		return uint32(v.Uint()), true
	case reflect.Uint64, reflect.Uintptr:
		return v.Uint(), true
	case reflect.Float32:
		return exact[float32](v), true
	case reflect.Float64:
		return v.Float(), true
	case reflect.Complex64:
		return exact[complex64](v), true
	case reflect.Complex128:
		return v.Complex(), true
	case reflect.String:
		return v.String(), true
	}
	return nil, false
}

// exact returns the value of v, whose kind is T's, bit for bit. Package reflect
// converts by way of float64 and complex128, which changes signaling NaNs.
func exact[T float32 | complex64](v reflect.Value) T {
	if x, ok := v.Interface().(T); ok {
		return x
	}
	return *(*T)(addressable(v).Addr().UnsafePointer())
}

// addressable returns v itself if it has an address, else a copy that has.
func addressable(v reflect.Value) reflect.Value {
	if v.CanAddr() {
		return v
	}
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

// bigInt returns the smallest of Go's own integers that v is saved as.
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
