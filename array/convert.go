package array

import (
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
)

// Convert converts the elements of src to elements of dstType in dst. srcType is the type
// of the elements in src, and dst must have room for exactly as many. The memory must not
// overlap unless the types are the same. Convert allocates nothing, so a large array can
// be converted one chunk at a time.
//
//   - Between floats it does the same as NumPy and ml_dtypes: it rounds to the nearest
//     value, ties to even. A value that is too large becomes infinity, NaN or the largest
//     value, depending on the format, and a value that is too small becomes 0.
//   - Floats that become integers lose their fraction, NaN becomes 0, and a value out of
//     range becomes the nearest integer in range. NumPy, and so Orbax, wraps around or
//     leaves the result undefined.
//   - Bools are true for every value except zero; true becomes 1.
//   - Complex numbers that become real lose their imaginary part.
//
// None of this is an error. To find the elements that have changed, convert back and
// compare.
//
// A length that does not fit is an error that matches orbax.ErrShape; an invalid type is
// an error that matches orbax.ErrDType.
func Convert(dst []byte, dstType DType, src []byte, srcType DType) error {
	ds, ss := dstType.Size(), srcType.Size()
	if ds == 0 || ss == 0 {
		return fmt.Errorf("%w: cannot convert %v to %v", fault.ErrDType, srcType, dstType)
	}
	n := len(src) / ss
	if len(src)%ss != 0 || len(dst)%ds != 0 || len(dst)/ds != n {
		return fmt.Errorf("%w: %d bytes of %v do not fit %d bytes of %v", fault.ErrShape, len(src), srcType, len(dst), dstType)
	}
	if srcType == dstType {
		copy(dst, src)
		return nil
	}
	if convertFast(dst, dstType, src, srcType) {
		return nil
	}
	for n > 0 {
		k := min(n, blockLen)
		convertBlock(dst[:k*ds], dstType, src[:k*ss], srcType)
		dst, src, n = dst[k*ds:], src[k*ss:], n-k
	}
	return nil
}

// Cast returns a copy of a with its elements converted to d, by the rules of [Convert].
// The result has its own memory, even if a has dtype d already. The keys of a random
// generator cannot be converted.
func (a *Array) Cast(d DType) (*Array, error) {
	if d == a.dtype {
		return a.Clone(), nil
	}
	if a.prngImpl != "" {
		return nil, fmt.Errorf("%w: cannot cast %s keys to %v", fault.ErrDType, a.prngImpl, d)
	}
	b, err := New(d, a.shape, nil)
	if err != nil {
		return nil, err
	}
	if err := Convert(b.data, d, a.data, a.dtype); err != nil {
		return nil, err
	}
	b.sharding = a.sharding
	return b, nil
}

// convertFast does the conversions in which loads spend most time, without the detour by
// way of a block. It reports whether it has done the conversion. It reads and writes
// whole elements, so it returns false for memory that is not aligned.
func convertFast(dst []byte, dstType DType, src []byte, srcType DType) bool {
	switch [2]DType{srcType, dstType} {
	case [2]DType{Float32, BFloat16}:
		if s, d, ok := viewBoth[float32, uint16](src, dst); ok {
			for i, v := range s {
				d[i] = f32ToBF16(v)
			}
			return true
		}
	case [2]DType{BFloat16, Float32}:
		if s, d, ok := viewBoth[uint16, uint32](src, dst); ok {
			for i, v := range s {
				d[i] = uint32(v) << 16
			}
			return true
		}
	case [2]DType{Float32, Float64}:
		if s, d, ok := viewBoth[float32, float64](src, dst); ok {
			for i, v := range s {
				d[i] = float64(v)
			}
			return true
		}
	case [2]DType{Float64, Float32}:
		if s, d, ok := viewBoth[float64, float32](src, dst); ok {
			for i, v := range s {
				d[i] = float32(v)
			}
			return true
		}
	case [2]DType{Float32, Float16}:
		if s, d, ok := viewBoth[float32, uint16](src, dst); ok {
			for i, v := range s {
				d[i] = f32ToF16(v)
			}
			return true
		}
	case [2]DType{Float16, Float32}:
		if s, d, ok := viewBoth[uint16, float32](src, dst); ok {
			for i, v := range s {
				d[i] = f16ToF32(v)
			}
			return true
		}
	}
	return false
}

// viewBoth views src and dst, which hold equally many elements, as S and D, if
// both are aligned.
func viewBoth[S, D Element](src, dst []byte) ([]S, []D, bool) {
	s, sOK := view[S](src)
	d, dOK := view[D](dst)
	if !sOK || !dOK {
		return nil, nil, false
	}
	return s, d[:len(s)], true
}

// Canonicalize brings elements of type d from a file into the form that this package
// expects in memory. It changes data in place: it sign-extends int2 and int4 from their
// low bits, clears the upper bits of float4 and float6 types, and sets every bool other
// than 0 to 1. Elements of other types have only one form and stay as they are.
func Canonicalize(d DType, data []byte) {
	switch d {
	case Bool:
		if canonicalBools(data) {
			return
		}
		for i, b := range data {
			if b != 0 {
				data[i] = 1
			}
		}
	case Int2:
		for i, b := range data {
			data[i] = byte(int8(b<<6) >> 6)
		}
	case Int4:
		for i, b := range data {
			data[i] = byte(int8(b<<4) >> 4)
		}
	case Float4E2M1FN:
		for i, b := range data {
			data[i] = b & 0x0f
		}
	case Float6E2M3FN, Float6E3M2FN:
		for i, b := range data {
			data[i] = b & 0x3f
		}
	}
}
