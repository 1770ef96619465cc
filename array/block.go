package array

import (
	"encoding/binary"
	"math"
)

// blockLen is the number of elements that convertBlock converts at a time: many enough to
// hide the cost of choosing the types, few enough for the stack and the first-level
// cache.
const blockLen = 256

// convertBlock converts up to blockLen elements. It goes by way of the widest type of the
// source's kind, which holds every value of that kind, so that the size of the code grows
// with the sum of the types and not with their pairs.
func convertBlock(dst []byte, dstType DType, src []byte, srcType DType) {
	n := len(src) / srcType.Size()
	switch srcType {
	case Bool, Uint8, Uint16, Uint32, Uint64:
		var block [blockLen]uint64
		loadUints(block[:n], src, srcType)
		store(dst, dstType, block[:n])
	case Int2, Int4, Int8, Int16, Int32, Int64:
		var block [blockLen]int64
		loadInts(block[:n], src, srcType)
		store(dst, dstType, block[:n])
	case Complex64, Complex128:
		var block [blockLen]complex128
		loadComplex(block[:n], src, srcType)
		storeComplex(dst, dstType, block[:n])
	default:
		var block [blockLen]float64
		loadFloats(block[:n], src, srcType)
		store(dst, dstType, block[:n])
	}
}

func loadUints(dst []uint64, src []byte, d DType) {
	le := binary.LittleEndian
	switch d {
	case Bool:
		for i := range dst {
			dst[i] = 0
			if src[i] != 0 {
				dst[i] = 1
			}
		}
	case Uint8:
		for i := range dst {
			dst[i] = uint64(src[i])
		}
	case Uint16:
		for i := range dst {
			dst[i] = uint64(le.Uint16(src[2*i:]))
		}
	case Uint32:
		for i := range dst {
			dst[i] = uint64(le.Uint32(src[4*i:]))
		}
	case Uint64:
		for i := range dst {
			dst[i] = le.Uint64(src[8*i:])
		}
	}
}

func loadInts(dst []int64, src []byte, d DType) {
	le := binary.LittleEndian
	switch d {
	case Int2:
		for i := range dst {
			dst[i] = int64(int8(src[i]<<6) >> 6)
		}
	case Int4:
		for i := range dst {
			dst[i] = int64(int8(src[i]<<4) >> 4)
		}
	case Int8:
		for i := range dst {
			dst[i] = int64(int8(src[i]))
		}
	case Int16:
		for i := range dst {
			dst[i] = int64(int16(le.Uint16(src[2*i:])))
		}
	case Int32:
		for i := range dst {
			dst[i] = int64(int32(le.Uint32(src[4*i:])))
		}
	case Int64:
		for i := range dst {
			dst[i] = int64(le.Uint64(src[8*i:]))
		}
	}
}

func loadFloats(dst []float64, src []byte, d DType) {
	le := binary.LittleEndian
	switch d {
	case Float64:
		for i := range dst {
			dst[i] = math.Float64frombits(le.Uint64(src[8*i:]))
		}
	case Float32:
		for i := range dst {
			dst[i] = float64(math.Float32frombits(le.Uint32(src[4*i:])))
		}
	case BFloat16:
		for i := range dst {
			dst[i] = float64(bf16ToF32(le.Uint16(src[2*i:])))
		}
	case Float16:
		for i := range dst {
			dst[i] = float64(f16ToF32(le.Uint16(src[2*i:])))
		}
	default:
		values := byteValues(d)
		for i := range dst {
			dst[i] = float64(values[src[i]])
		}
	}
}

func loadComplex(dst []complex128, src []byte, d DType) {
	le := binary.LittleEndian
	switch d {
	case Complex64:
		for i := range dst {
			re, im := math.Float32frombits(le.Uint32(src[8*i:])), math.Float32frombits(le.Uint32(src[8*i+4:]))
			dst[i] = complex(float64(re), float64(im))
		}
	case Complex128:
		for i := range dst {
			dst[i] = complex(math.Float64frombits(le.Uint64(src[16*i:])), math.Float64frombits(le.Uint64(src[16*i+8:])))
		}
	}
}

// byteValues returns the values of the 256 bytes of a one-byte float type.
func byteValues(d DType) *[256]float32 {
	if d == Float8E8M0FNU {
		return &e8m0fnu.values
	}
	return &byteFloat(d).values
}

// byteFloat returns the format of a one-byte float type that has a mantissa.
func byteFloat(d DType) *smallFloat {
	switch d {
	case Float4E2M1FN:
		return e2m1fn
	case Float6E2M3FN:
		return e2m3fn
	case Float6E3M2FN:
		return e3m2fn
	case Float8E3M4:
		return e3m4
	case Float8E4M3B11FNUZ:
		return e4m3b11fnuz
	case Float8E4M3FN:
		return e4m3fn
	case Float8E4M3FNUZ:
		return e4m3fnuz
	case Float8E5M2:
		return e5m2
	}
	return e5m2fnuz
}

// wide is the type of a block of real numbers.
type wide interface{ int64 | uint64 | float64 }

// store writes the block's values as elements of type d.
func store[S wide](dst []byte, d DType, block []S) {
	le := binary.LittleEndian
	switch d {
	case Bool:
		for i, v := range block {
			dst[i] = 0
			if v != 0 {
				dst[i] = 1
			}
		}
	case Int2, Int4, Int8:
		lo, hi := int64(-128), int64(127)
		switch d {
		case Int2:
			lo, hi = -2, 1
		case Int4:
			lo, hi = -8, 7
		}
		for i, v := range block {
			dst[i] = byte(min(max(saturateInt(v), lo), hi))
		}
	case Int16:
		for i, v := range block {
			le.PutUint16(dst[2*i:], uint16(min(max(saturateInt(v), math.MinInt16), math.MaxInt16)))
		}
	case Int32:
		for i, v := range block {
			le.PutUint32(dst[4*i:], uint32(min(max(saturateInt(v), math.MinInt32), math.MaxInt32)))
		}
	case Int64:
		for i, v := range block {
			le.PutUint64(dst[8*i:], uint64(saturateInt(v)))
		}
	case Uint8:
		for i, v := range block {
			dst[i] = byte(min(saturateUint(v), math.MaxUint8))
		}
	case Uint16:
		for i, v := range block {
			le.PutUint16(dst[2*i:], uint16(min(saturateUint(v), math.MaxUint16)))
		}
	case Uint32:
		for i, v := range block {
			le.PutUint32(dst[4*i:], uint32(min(saturateUint(v), math.MaxUint32)))
		}
	case Uint64:
		for i, v := range block {
			le.PutUint64(dst[8*i:], saturateUint(v))
		}
	case Float64:
		for i, v := range block {
			le.PutUint64(dst[8*i:], math.Float64bits(float64(v)))
		}
	case Float32:
		for i, v := range block {
			le.PutUint32(dst[4*i:], math.Float32bits(float32(v)))
		}
	case Complex64:
		for i, v := range block {
			le.PutUint64(dst[8*i:], uint64(math.Float32bits(float32(v))))
		}
	case Complex128:
		for i, v := range block {
			le.PutUint64(dst[16*i:], math.Float64bits(float64(v)))
			le.PutUint64(dst[16*i+8:], 0)
		}
	default:
		storeSmallFloats(dst, d, block)
	}
}

// storeSmallFloats goes by way of float32, as ml_dtypes does, which rounds some
// values twice. NumPy's float16 comes from float64 at once.
func storeSmallFloats[S wide](dst []byte, d DType, block []S) {
	le := binary.LittleEndian
	switch d {
	case BFloat16:
		for i, v := range block {
			le.PutUint16(dst[2*i:], f32ToBF16(float32(v)))
		}
	case Float16:
		for i, v := range block {
			le.PutUint16(dst[2*i:], float16.encode(float64(v)))
		}
	case Float8E8M0FNU:
		for i, v := range block {
			dst[i] = byte(e8m0fnu.encode(float64(float32(v))))
		}
	default:
		f := byteFloat(d)
		for i, v := range block {
			dst[i] = byte(f.encode(float64(float32(v))))
		}
	}
}

func storeComplex(dst []byte, d DType, block []complex128) {
	le := binary.LittleEndian
	switch d {
	case Complex64:
		for i, v := range block {
			le.PutUint32(dst[8*i:], math.Float32bits(float32(real(v))))
			le.PutUint32(dst[8*i+4:], math.Float32bits(float32(imag(v))))
		}
	case Complex128:
		for i, v := range block {
			le.PutUint64(dst[16*i:], math.Float64bits(real(v)))
			le.PutUint64(dst[16*i+8:], math.Float64bits(imag(v)))
		}
	case Bool:
		for i, v := range block {
			dst[i] = 0
			if v != 0 {
				dst[i] = 1
			}
		}
	default:
		var re [blockLen]float64
		for i, v := range block {
			re[i] = real(v)
		}
		store(dst, d, re[:len(block)])
	}
}

// saturateInt returns v without its fraction as the nearest int64; 0 for NaN.
func saturateInt[S wide](v S) int64 {
	switch v := any(v).(type) {
	case int64:
		return v
	case uint64:
		return int64(min(v, math.MaxInt64))
	case float64:
		switch {
		case v != v:
			return 0
		case v >= 1<<63:
			return math.MaxInt64
		case v < -1<<63:
			return math.MinInt64
		}
		return int64(v)
	}
	return 0
}

// saturateUint returns v without its fraction as the nearest uint64; 0 for NaN.
func saturateUint[S wide](v S) uint64 {
	switch v := any(v).(type) {
	case int64:
		return uint64(max(v, 0))
	case uint64:
		return v
	case float64:
		switch {
		case !(v > 0):
			return 0
		case v >= 1<<64:
			return math.MaxUint64
		}
		return uint64(v)
	}
	return 0
}
