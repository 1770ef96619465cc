package array

import "reflect"

// These are the Go types of elements that the language has no type for. Each holds an
// element's bits; methods and functions convert it to and from float32.
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
	F6E2M3FN      uint8  // float6_e2m3fn: the lower six bits
	F6E3M2FN      uint8  // float6_e3m2fn: the lower six bits
	I2            int8   // int2: -2 to 1
	I4            int8   // int4: -8 to 7
)

// Element lists the Go types as which an array's elements can be viewed. A defined type
// counts as its underlying type, except the types of this package; int and uint are int64
// and uint64 on 64-bit hosts.
type Element interface {
	~bool |
		~int | ~int8 | ~int16 | ~int32 | ~int64 |
		~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 |
		~float32 | ~float64 | ~complex64 | ~complex128
}

// DTypeOf returns the dtype of elements of type T.
func DTypeOf[T Element]() DType { return ElementDType(reflect.TypeFor[T]()) }

// ElementDType returns the dtype of elements of type t, or Invalid if [Element] does not
// allow t.
func ElementDType(t reflect.Type) DType {
	if t == nil {
		return Invalid
	}
	if d, ok := dtypeByType[t]; ok {
		return d
	}
	k := t.Kind()
	switch {
	case k == reflect.Int && t.Size() == 4:
		k = reflect.Int32
	case k == reflect.Int:
		k = reflect.Int64
	case k == reflect.Uint && t.Size() == 4:
		k = reflect.Uint32
	case k == reflect.Uint:
		k = reflect.Uint64
	}
	return dtypeByKind[k]
}

// dtypeByType has the types of this package, dtypeByKind the language's types of fixed
// size.
var dtypeByType, dtypeByKind = func() (map[reflect.Type]DType, map[reflect.Kind]DType) {
	types, kinds := map[reflect.Type]DType{}, map[reflect.Kind]DType{}
	for d := Bool; d < numDTypes; d++ {
		if t := dtypes[d].element; t.PkgPath() != "" {
			types[t] = d
		} else {
			kinds[t.Kind()] = d
		}
	}
	return types, kinds
}()

// ToBF16 rounds v to the nearest bfloat16, ties to even.
func ToBF16(v float32) BF16 { return BF16(f32ToBF16(v)) }

// ToF16 rounds v to the nearest float16, ties to even.
func ToF16(v float32) F16 { return F16(f32ToF16(v)) }

// ToF8E3M4 rounds v to the nearest float8_e3m4, ties to even.
func ToF8E3M4(v float32) F8E3M4 { return F8E3M4(e3m4.encode(float64(v))) }

// ToF8E4M3B11FNUZ rounds v to the nearest float8_e4m3b11fnuz, ties to even. A value that
// is too large becomes NaN.
func ToF8E4M3B11FNUZ(v float32) F8E4M3B11FNUZ { return F8E4M3B11FNUZ(e4m3b11fnuz.encode(float64(v))) }

// ToF8E4M3FN rounds v to the nearest float8_e4m3fn, ties to even. A value that is too
// large becomes NaN.
func ToF8E4M3FN(v float32) F8E4M3FN { return F8E4M3FN(e4m3fn.encode(float64(v))) }

// ToF8E4M3FNUZ rounds v to the nearest float8_e4m3fnuz, ties to even. A value that is too
// large becomes NaN.
func ToF8E4M3FNUZ(v float32) F8E4M3FNUZ { return F8E4M3FNUZ(e4m3fnuz.encode(float64(v))) }

// ToF8E5M2 rounds v to the nearest float8_e5m2, ties to even.
func ToF8E5M2(v float32) F8E5M2 { return F8E5M2(e5m2.encode(float64(v))) }

// ToF8E5M2FNUZ rounds v to the nearest float8_e5m2fnuz, ties to even. A value that is too
// large becomes NaN.
func ToF8E5M2FNUZ(v float32) F8E5M2FNUZ { return F8E5M2FNUZ(e5m2fnuz.encode(float64(v))) }

// ToF8E8M0FNU rounds v to the nearest power of two that float8_e8m0fnu holds, ties up.
// Zero, negative numbers and values that are too large become NaN.
func ToF8E8M0FNU(v float32) F8E8M0FNU { return F8E8M0FNU(e8m0fnu.encode(float64(v))) }

// ToF4E2M1FN rounds v to the nearest float4_e2m1fn, ties to even. A value that is too
// large becomes ±6, and NaN, which the format lacks, becomes a zero.
func ToF4E2M1FN(v float32) F4E2M1FN { return F4E2M1FN(e2m1fn.encode(float64(v))) }

// ToF6E2M3FN rounds v to the nearest float6_e2m3fn, ties to even. A value that is too
// large becomes ±7.5, and NaN, which the format lacks, becomes a zero.
func ToF6E2M3FN(v float32) F6E2M3FN { return F6E2M3FN(e2m3fn.encode(float64(v))) }

// ToF6E3M2FN rounds v to the nearest float6_e3m2fn, ties to even. A value that is too
// large becomes ±28, and NaN, which the format lacks, becomes a zero.
func ToF6E3M2FN(v float32) F6E3M2FN { return F6E3M2FN(e3m2fn.encode(float64(v))) }

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

// Float32 returns the value of the lower six bits, exactly.
func (v F6E2M3FN) Float32() float32 { return e2m3fn.values[v] }

// Float32 returns the value of the lower six bits, exactly.
func (v F6E3M2FN) Float32() float32 { return e3m2fn.values[v] }
