package array

import "math"

// specials says how a small float format treats values that are not finite numbers.
type specials uint8

const (
	ieee   specials = iota // the top exponent holds infinities and NaNs
	fn                     // all ones are NaN; no infinity
	fnuz                   // the bits of negative zero are NaN; no infinity, no -0
	finite                 // no NaN, no infinity
)

// smallFloat is a float format of ml_dtypes with at most 16 bits, whose exponent is
// narrower than that of a float32.
type smallFloat struct {
	expBits, manBits, bias int
	specials               specials
	maxFinite              uint16       // bits of the largest finite value
	values                 [256]float32 // value of each byte, for the 8-bit formats
}

var (
	e2m1fn      = newSmallFloat(2, 1, 1, finite)
	e2m3fn      = newSmallFloat(2, 3, 1, finite)
	e3m2fn      = newSmallFloat(3, 2, 3, finite)
	e3m4        = newSmallFloat(3, 4, 3, ieee)
	e4m3b11fnuz = newSmallFloat(4, 3, 11, fnuz)
	e4m3fn      = newSmallFloat(4, 3, 7, fn)
	e4m3fnuz    = newSmallFloat(4, 3, 8, fnuz)
	e5m2        = newSmallFloat(5, 2, 15, ieee)
	e5m2fnuz    = newSmallFloat(5, 2, 16, fnuz)
	float16     = newSmallFloat(5, 10, 15, ieee)
)

func newSmallFloat(expBits, manBits, bias int, s specials) *smallFloat {
	f := &smallFloat{expBits: expBits, manBits: manBits, bias: bias, specials: s}
	all := uint16(1)<<(expBits+manBits) - 1
	switch s {
	case ieee:
		f.maxFinite = all - 1<<manBits
	case fn:
		f.maxFinite = all - 1
	default:
		f.maxFinite = all
	}
	for i := range f.values {
		f.values[i] = float32(f.decode(uint16(i)))
	}
	return f
}

func (f *smallFloat) signBit() uint16 { return 1 << (f.expBits + f.manBits) }

// decode returns the value of bits; it ignores bits above the format's width.
func (f *smallFloat) decode(bits uint16) float64 {
	sign := f.signBit()
	mag := bits & (sign - 1)
	neg := bits&sign != 0
	if f.specials == fnuz && neg && mag == 0 {
		return math.NaN()
	}
	var v float64
	exp, man := int(mag>>f.manBits), float64(mag&(1<<f.manBits-1))
	switch {
	case mag > f.maxFinite && f.specials == ieee && man == 0:
		v = math.Inf(1)
	case mag > f.maxFinite:
		v = math.NaN()
	case exp == 0:
		v = math.Ldexp(man, 1-f.bias-f.manBits)
	default:
		v = math.Ldexp(man+math.Ldexp(1, f.manBits), exp-f.bias-f.manBits)
	}
	if neg {
		return math.Copysign(v, -1)
	}
	return v
}

// encode rounds v to the nearest value of the format, ties to even.
func (f *smallFloat) encode(v float64) uint16 {
	const manBits, bias = 52, 1023
	b := math.Float64bits(v)
	sign := uint16(b>>63) << (f.expBits + f.manBits)
	b &= 1<<63 - 1
	if b > 0x7ff<<manBits {
		return f.nan(sign)
	}
	var mag uint64
	exp := int(b>>manBits) - bias + f.bias // the exponent in this format
	if exp > 1<<f.expBits {
		return f.overflow(sign)
	}
	// Shift the mantissa so that its last bit is the last bit of the format. Normal
	// numbers keep their exponent above the mantissa, so that a carry out of the mantissa
	// moves to the next power of two; subnormal numbers get their leading 1 back.
	shift := manBits - f.manBits
	if exp >= 1 {
		mag = b - uint64(bias-f.bias)<<manBits
	} else {
		shift += 1 - exp
		if shift > 63 {
			shift = 63
		}
		mag = b&(1<<manBits-1) | 1<<manBits
		if b>>manBits == 0 {
			mag = 0 // zero, or far below the smallest subnormal
		}
	}
	half := uint64(1)<<(shift-1) - 1 + mag>>shift&1
	mag = (mag + half) >> shift
	if mag > uint64(f.maxFinite) {
		return f.overflow(sign)
	}
	if mag == 0 && f.specials == fnuz {
		return 0
	}
	return sign | uint16(mag)
}

// nan returns the bits that ml_dtypes gives to a NaN of that sign. In the format without
// NaN these are the bits of the zero of the other sign.
func (f *smallFloat) nan(sign uint16) uint16 {
	switch f.specials {
	case ieee:
		return sign | f.maxFinite + 1 | 1<<(f.manBits-1)
	case fn:
		return sign | f.maxFinite + 1
	case fnuz:
		return f.signBit()
	}
	return sign ^ f.signBit()
}

// overflow returns the bits for a magnitude above the largest finite value.
func (f *smallFloat) overflow(sign uint16) uint16 {
	switch f.specials {
	case ieee:
		return sign | (f.maxFinite + 1)
	case finite:
		return sign | f.maxFinite
	}
	return f.nan(sign)
}

// powerOfTwo is float8_e8m0fnu: an exponent and nothing else.
type powerOfTwo struct{ values [256]float32 }

var e8m0fnu = newPowerOfTwo()

func newPowerOfTwo() *powerOfTwo {
	f := &powerOfTwo{}
	for i := range f.values {
		f.values[i] = float32(math.Ldexp(1, i-127))
	}
	f.values[255] = float32(math.NaN())
	return f
}

// encode rounds v to the nearest power of two as ml_dtypes does: a tie goes up, and so
// does every value between the two smallest powers. Values below the smallest power
// become the smallest power, because the format has no zero. Values that have no
// logarithm, and values that are too large, become NaN.
func (f *powerOfTwo) encode(v float64) uint16 {
	if !(v > 0) || math.IsInf(v, 1) {
		return 255
	}
	if 0x1p-127 < v && v < 0x1p-126 {
		return 1
	}
	frac, exp := math.Frexp(v) // v = frac * 2^exp, frac in [1/2, 1)
	e := exp - 1 + 127
	if frac >= 0.75 {
		e++
	}
	return uint16(min(max(e, 0), 255))
}

func bf16ToF32(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

func f32ToBF16(v float32) uint16 {
	b := math.Float32bits(v)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16)&0x8000 | 0x7fc0
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// f16ToF32 reads the digits of h as a float32 and scales it by the difference of the two
// biases. The multiplication is exact and normalizes subnormals.
func f16ToF32(h uint16) float32 {
	mag := uint32(h&0x7fff) << 13
	v := math.Float32frombits(mag) * 0x1p112
	b := math.Float32bits(v)
	if mag >= 0x7c00<<13 {
		b = mag | 0x7f800000
	}
	return math.Float32frombits(b | uint32(h&0x8000)<<16)
}

// f32ToF16 rounds to nearest, ties to even. As in NumPy, it keeps as many bits of a NaN
// as there is room for.
func f32ToF16(v float32) uint16 {
	b := math.Float32bits(v)
	sign, mag := uint16(b>>16)&0x8000, b&0x7fffffff
	switch {
	case mag > 0x7f800000:
		return sign | 0x7c00 | max(uint16(mag>>13)&0x3ff, 1)
	case mag >= 0x47800000: // 65536
		return sign | 0x7c00
	case mag < 0x38800000: // 2^-14, the smallest normal float16
		// A float32 at 1/2 has the digits of a float16 subnormal, so the addition does
		// the rounding.
		sum := math.Float32frombits(mag) + 0.5
		return sign | uint16(math.Float32bits(sum)-0x3f000000)
	}
	return sign | uint16((mag-112<<23+0xfff+mag>>13&1)>>13)
}
