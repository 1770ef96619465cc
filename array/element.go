package array

import (
	"reflect"
	"unsafe"
)

// The Go types of elements that the language has no type for. Each holds an
// element's bits; conversions to and from float32 are methods and functions.
type (
	BF16          uint16 // bfloat16: the upper half of a float32
	F16           uint16 // float16: IEEE 754 binary16
	F8E3M4        uint8  // float8_e3m4
	F8E4M3B11FNUZ uint8  // float8_e4m3b11fnuz
	F8E4M3FN      uint8  // float8_e4m3fn
	F8E4M3FNUZ    uint8  // float8_e4m3fnuz
	F8E5M2        uint8  // float8_e5m2
	F8E5M2FNUZ    uint8  // float8_e5m2fnuz
	F8E8M0FNU     uint8  // float8_e8m0fnu: a power of two, or NaN
	F4E2M1FN      uint8  // float4_e2m1fn: the lower four bits
	I2            int8   // int2: -2 to 1
	I4            int8   // int4: -8 to 7
)

// Element is a Go type that an array's elements can be viewed as. A type of
// the caller's own counts as the type that it is defined from; int and uint
// are int64 and uint64 on 64-bit hosts.
type Element interface {
	~bool |
		~int | ~int8 | ~int16 | ~int32 | ~int64 |
		~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 |
		~float32 | ~float64 | ~complex64 | ~complex128
}

// DTypeOf returns the dtype of elements of type T.
func DTypeOf[T Element]() DType {
	var zero T
	switch any(zero).(type) {
	case BF16:
		return BFloat16
	case F16:
		return Float16
	case F8E3M4:
		return Float8E3M4
	case F8E4M3B11FNUZ:
		return Float8E4M3B11FNUZ
	case F8E4M3FN:
		return Float8E4M3FN
	case F8E4M3FNUZ:
		return Float8E4M3FNUZ
	case F8E5M2:
		return Float8E5M2
	case F8E5M2FNUZ:
		return Float8E5M2FNUZ
	case F8E8M0FNU:
		return Float8E8M0FNU
	case F4E2M1FN:
		return Float4E2M1FN
	case I2:
		return Int2
	case I4:
		return Int4
	}
	return dtypeOfKind(reflect.TypeFor[T]().Kind())
}

func dtypeOfKind(k reflect.Kind) DType {
	switch k {
	case reflect.Bool:
		return Bool
	case reflect.Int8:
		return Int8
	case reflect.Int16:
		return Int16
	case reflect.Int32:
		return Int32
	case reflect.Int64:
		return Int64
	case reflect.Uint8:
		return Uint8
	case reflect.Uint16:
		return Uint16
	case reflect.Uint32:
		return Uint32
	case reflect.Uint64:
		return Uint64
	case reflect.Float32:
		return Float32
	case reflect.Float64:
		return Float64
	case reflect.Complex64:
		return Complex64
	case reflect.Complex128:
		return Complex128
	case reflect.Int:
		if unsafe.Sizeof(int(0)) == 4 {
			return Int32
		}
		return Int64
	case reflect.Uint:
		if unsafe.Sizeof(uint(0)) == 4 {
			return Uint32
		}
		return Uint64
	}
	return Invalid
}

// ToBF16 rounds v to the nearest bfloat16, ties to even.
func ToBF16(v float32) BF16 { return BF16(f32ToBF16(v)) }

// ToF16 rounds v to the nearest float16, ties to even.
func ToF16(v float32) F16 { return F16(f32ToF16(v)) }

// ToF8E3M4 rounds v to the nearest float8_e3m4, ties to even.
func ToF8E3M4(v float32) F8E3M4 { return F8E3M4(e3m4.encode(float64(v))) }

// ToF8E4M3B11FNUZ rounds v to the nearest float8_e4m3b11fnuz, ties to even. What is
// too large becomes NaN.
func ToF8E4M3B11FNUZ(v float32) F8E4M3B11FNUZ { return F8E4M3B11FNUZ(e4m3b11fnuz.encode(float64(v))) }

// ToF8E4M3FN rounds v to the nearest float8_e4m3fn, ties to even. What is too
// large becomes NaN.
func ToF8E4M3FN(v float32) F8E4M3FN { return F8E4M3FN(e4m3fn.encode(float64(v))) }

// ToF8E4M3FNUZ rounds v to the nearest float8_e4m3fnuz, ties to even. What is
// too large becomes NaN.
func ToF8E4M3FNUZ(v float32) F8E4M3FNUZ { return F8E4M3FNUZ(e4m3fnuz.encode(float64(v))) }

// ToF8E5M2 rounds v to the nearest float8_e5m2, ties to even.
func ToF8E5M2(v float32) F8E5M2 { return F8E5M2(e5m2.encode(float64(v))) }

// ToF8E5M2FNUZ rounds v to the nearest float8_e5m2fnuz, ties to even. What is
// too large becomes NaN.
func ToF8E5M2FNUZ(v float32) F8E5M2FNUZ { return F8E5M2FNUZ(e5m2fnuz.encode(float64(v))) }

// ToF8E8M0FNU rounds v to the nearest power of two that float8_e8m0fnu holds,
// ties up. Zero, negative numbers and what is too large become NaN.
func ToF8E8M0FNU(v float32) F8E8M0FNU { return F8E8M0FNU(e8m0fnu.encode(float64(v))) }

// ToF4E2M1FN rounds v to the nearest float4_e2m1fn, ties to even. What is too
// large becomes ±6, and NaN, which the format lacks, becomes a zero.
func ToF4E2M1FN(v float32) F4E2M1FN { return F4E2M1FN(e2m1fn.encode(float64(v))) }

// Float32 returns the value, exactly.
func (v BF16) Float32() float32 { return bf16ToF32(uint16(v)) }

// Float32 returns the value, exactly.
func (v F16) Float32() float32 { return f16ToF32(uint16(v)) }

// Float32 returns the value, exactly.
func (v F8E3M4) Float32() float32 { return e3m4.values[v] }

// Float32 returns the value, exactly.
func (v F8E4M3B11FNUZ) Float32() float32 { return e4m3b11fnuz.values[v] }

// Float32 returns the value, exactly.
func (v F8E4M3FN) Float32() float32 { return e4m3fn.values[v] }

// Float32 returns the value, exactly.
func (v F8E4M3FNUZ) Float32() float32 { return e4m3fnuz.values[v] }

// Float32 returns the value, exactly.
func (v F8E5M2) Float32() float32 { return e5m2.values[v] }

// Float32 returns the value, exactly.
func (v F8E5M2FNUZ) Float32() float32 { return e5m2fnuz.values[v] }

// Float32 returns the value, exactly.
func (v F8E8M0FNU) Float32() float32 { return e8m0fnu.values[v] }

// Float32 returns the value of the lower four bits, exactly.
func (v F4E2M1FN) Float32() float32 { return e2m1fn.values[v] }
