package array

import (
	"fmt"
	"reflect"

	"github.com/go-orbax/orbax/internal/fault"
)

// DType is the type of an array's elements. The names are those of NumPy and ml_dtypes,
// which zarr also uses.
type DType uint8

// These are the element types. TensorStore, and so a checkpoint of Orbax, stores the
// types up to Complex128; the last two occur in safetensors files alone. Int2, Int4,
// [Float4E2M1FN] and the two types of six bits take one byte for each element, in memory
// and in checkpoints.
const (
	Invalid DType = iota
	Bool
	Int2
	Int4
	Int8
	Int16
	Int32
	Int64
	Uint8
	Uint16
	Uint32
	Uint64
	Float4E2M1FN
	Float8E3M4
	Float8E4M3B11FNUZ
	Float8E4M3FN
	Float8E4M3FNUZ
	Float8E5M2
	Float8E5M2FNUZ
	Float8E8M0FNU
	Float16
	BFloat16
	Float32
	Float64
	Complex64
	Complex128
	Float6E2M3FN
	Float6E3M2FN
	numDTypes
)

var dtypes = [numDTypes]struct {
	name    string
	size    int
	element reflect.Type // Go type of the elements in a view
}{
	Invalid:           {name: "invalid"},
	Bool:              {"bool", 1, reflect.TypeFor[bool]()},
	Int2:              {"int2", 1, reflect.TypeFor[I2]()},
	Int4:              {"int4", 1, reflect.TypeFor[I4]()},
	Int8:              {"int8", 1, reflect.TypeFor[int8]()},
	Int16:             {"int16", 2, reflect.TypeFor[int16]()},
	Int32:             {"int32", 4, reflect.TypeFor[int32]()},
	Int64:             {"int64", 8, reflect.TypeFor[int64]()},
	Uint8:             {"uint8", 1, reflect.TypeFor[uint8]()},
	Uint16:            {"uint16", 2, reflect.TypeFor[uint16]()},
	Uint32:            {"uint32", 4, reflect.TypeFor[uint32]()},
	Uint64:            {"uint64", 8, reflect.TypeFor[uint64]()},
	Float4E2M1FN:      {"float4_e2m1fn", 1, reflect.TypeFor[F4E2M1FN]()},
	Float8E3M4:        {"float8_e3m4", 1, reflect.TypeFor[F8E3M4]()},
	Float8E4M3B11FNUZ: {"float8_e4m3b11fnuz", 1, reflect.TypeFor[F8E4M3B11FNUZ]()},
	Float8E4M3FN:      {"float8_e4m3fn", 1, reflect.TypeFor[F8E4M3FN]()},
	Float8E4M3FNUZ:    {"float8_e4m3fnuz", 1, reflect.TypeFor[F8E4M3FNUZ]()},
	Float8E5M2:        {"float8_e5m2", 1, reflect.TypeFor[F8E5M2]()},
	Float8E5M2FNUZ:    {"float8_e5m2fnuz", 1, reflect.TypeFor[F8E5M2FNUZ]()},
	Float8E8M0FNU:     {"float8_e8m0fnu", 1, reflect.TypeFor[F8E8M0FNU]()},
	Float16:           {"float16", 2, reflect.TypeFor[F16]()},
	BFloat16:          {"bfloat16", 2, reflect.TypeFor[BF16]()},
	Float32:           {"float32", 4, reflect.TypeFor[float32]()},
	Float64:           {"float64", 8, reflect.TypeFor[float64]()},
	Complex64:         {"complex64", 8, reflect.TypeFor[complex64]()},
	Complex128:        {"complex128", 16, reflect.TypeFor[complex128]()},
	Float6E2M3FN:      {"float6_e2m3fn", 1, reflect.TypeFor[F6E2M3FN]()},
	Float6E3M2FN:      {"float6_e3m2fn", 1, reflect.TypeFor[F6E3M2FN]()},
}

var dtypeByName = func() map[string]DType {
	m := make(map[string]DType, numDTypes)
	for d := Bool; d < numDTypes; d++ {
		m[dtypes[d].name] = d
	}
	return m
}()

// ParseDType returns the element type with the given name, such as "float32" or
// "float8_e4m3fn". An unknown name is an error that matches orbax.ErrDType.
func ParseDType(name string) (DType, error) {
	if d, ok := dtypeByName[name]; ok {
		return d, nil
	}
	return Invalid, fmt.Errorf("%w: unknown dtype %q", fault.ErrDType, name)
}

// String returns the dtype's name.
func (d DType) String() string {
	if d >= numDTypes {
		return fmt.Sprintf("DType(%d)", uint8(d))
	}
	return dtypes[d].name
}

// Size returns the number of bytes that one element takes, 0 for an invalid dtype.
func (d DType) Size() int {
	if d >= numDTypes {
		return 0
	}
	return dtypes[d].size
}

// IsInteger reports whether the elements are signed or unsigned integers. Bools are not
// integers.
func (d DType) IsInteger() bool { return Int2 <= d && d <= Uint64 }

// IsFloat reports whether the elements are floating-point numbers, of any width.
func (d DType) IsFloat() bool {
	return Float4E2M1FN <= d && d <= Float64 || d == Float6E2M3FN || d == Float6E3M2FN
}

// IsComplex reports whether the elements are complex numbers.
func (d DType) IsComplex() bool { return d == Complex64 || d == Complex128 }

// SameClass reports whether d and other are both floating-point, both integer or both
// complex. A conversion from one class to another changes the meaning of the numbers.
func (d DType) SameClass(other DType) bool {
	return d.IsInteger() && other.IsInteger() || d.IsFloat() && other.IsFloat() || d.IsComplex() && other.IsComplex()
}
