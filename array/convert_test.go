package array

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"pgregory.net/rapid"
)

// dtypesOf returns all dtypes for which keep is true.
func dtypesOf(keep func(DType) bool) []DType {
	var out []DType
	for d := Bool; d < numDTypes; d++ {
		if keep(d) {
			out = append(out, d)
		}
	}
	return out
}

func isInt(d DType) bool     { return d >= Int2 && d <= Uint64 }
func isFloat(d DType) bool   { return d >= Float4E2M1FN && d <= Float64 }
func isComplex(d DType) bool { return d == Complex64 || d == Complex128 }

// intRange is the least and the greatest value of an integer type.
var intRange = map[DType][2]float64{
	Int2: {-2, 1}, Int4: {-8, 7}, Int8: {-128, 127}, Int16: {-1 << 15, 1<<15 - 1}, Int32: {-1 << 31, 1<<31 - 1},
	Int64: {-1 << 63, 1<<63 - 1}, Uint8: {0, 255}, Uint16: {0, 1<<16 - 1}, Uint32: {0, 1<<32 - 1}, Uint64: {0, 1<<64 - 1},
}

// Any element of a type of at most 32 bits converts as float64 arithmetic,
// which holds it exactly, has it.
func TestConvertModel(t *testing.T) {
	exact := func(d DType) bool { return d.Size() <= 4 || d == Float64 }
	rapid.Check(t, func(t *rapid.T) {
		src := rapid.SampledFrom(dtypesOf(exact)).Draw(t, "from")
		dst := rapid.SampledFrom(dtypesOf(func(d DType) bool { return true })).Draw(t, "to")
		data := rapid.SliceOfN(rapid.Byte(), 0, 600*src.Size()).Draw(t, "data")
		data = data[:len(data)/src.Size()*src.Size()]
		if src == Float64 || src == Float32 {
			// Random bits are hardly ever near the integers.
			for i := range len(data) / src.Size() {
				if v := rapid.Float64Range(-300, 300).Draw(t, "value"); src == Float64 && i%2 == 0 {
					copy(data[8*i:], Of([]float64{v}).Bytes())
				} else if i%2 == 0 {
					copy(data[4*i:], Of([]float32{float32(v)}).Bytes())
				}
			}
		}
		Canonicalize(src, data)
		n := len(data) / src.Size()
		out := bytes.Repeat([]byte{0xee}, n*dst.Size())
		if err := Convert(out, dst, data, src); err != nil {
			t.Fatal(err)
		}
		again := bytes.Clone(out)
		Canonicalize(dst, again)
		if !bytes.Equal(again, out) {
			t.Fatalf("%v to %v: the result is not canonical", src, dst)
		}
		for i := range n {
			v := asFloat64(t, src, data, i)
			got := out[i*dst.Size():][:dst.Size()]
			switch {
			case dst == Bool:
				if want := v != 0; (got[0] == 1) != want {
					t.Fatalf("%v %v to bool: %v", src, v, got)
				}
			case isInt(dst):
				want := math.Trunc(v)
				if want != want {
					want = 0
				}
				want = min(max(want, intRange[dst][0]), intRange[dst][1])
				if g := asFloat64(t, dst, out, i); g != want {
					t.Fatalf("%v %v to %v: %v, want %v", src, v, dst, g, want)
				}
			case isFloat(dst):
				checkNearest(t, dst, v, asFloat64(t, dst, out, i))
			case isComplex(dst):
				re := Float32
				if dst == Complex128 {
					re = Float64
				}
				if im := asFloat64(t, re, got[dst.Size()/2:], 0); im != 0 {
					t.Fatalf("%v %v to %v: imaginary part %v", src, v, dst, im)
				}
				checkNearest(t, re, v, asFloat64(t, re, got, 0))
			}
		}
	})
}

// asFloat64 returns the i-th element, whose type a float64 holds.
func asFloat64(t *rapid.T, d DType, data []byte, i int) float64 {
	var out [8]byte
	if err := Convert(out[:], Float64, data[i*d.Size():][:d.Size()], d); err != nil {
		t.Fatal(err)
	}
	v, err := Values[float64](newOne(Float64, out[:]))
	if err != nil {
		t.Fatal(err)
	}
	return v[0]
}

// checkNearest fails unless no value of d is nearer to v than got. Doubles
// that round twice, by way of float32, may be off by half a unit of that.
func checkNearest(t *rapid.T, d DType, v, got float64) {
	if v != v || math.IsInf(v, 0) || got != got || math.IsInf(got, 0) || d == Float8E8M0FNU {
		return // the golden tables cover these
	}
	var below, above float64
	switch d {
	case Float64:
		if got != v {
			t.Fatalf("%v to float64: %v", v, got)
		}
		return
	case Float32:
		below, above = float64(math.Nextafter32(float32(got), float32(math.Inf(-1)))), float64(math.Nextafter32(float32(got), float32(math.Inf(1))))
	case BFloat16:
		below, above = neighbours(got, 8, -133)
	case Float16:
		below, above = neighbours(got, 11, -24)
	default:
		f := byteFloat(d)
		below, above = neighbours(got, f.manBits+1, 1-f.bias-f.manBits)
	}
	slack := math.Abs(v) * 0x1p-24
	if off := math.Abs(v - got); off > math.Abs(v-below)+slack || off > math.Abs(v-above)+slack {
		// The largest value stands for all beyond it in a format without infinity.
		if d == Float4E2M1FN && math.Abs(got) == 6 && math.Abs(v) > 6 {
			return
		}
		t.Fatalf("%v to %v: %v, its neighbours are %v and %v", v, d, got, below, above)
	}
}

// neighbours returns the values beside v in a format with that many digits and
// that exponent of its smallest step.
func neighbours(v float64, digits, minStep int) (below, above float64) {
	step := math.Ldexp(1, max(math.Ilogb(v)-digits+1, minStep))
	if v == 0 {
		step = math.Ldexp(1, minStep)
	}
	return v - step, v + step
}

func TestConvertEdges(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	cast := func(a *Array, d DType) *Array {
		t.Helper()
		b, err := a.Cast(d)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	tests := []struct {
		from, want *Array
	}{
		{Of([]float64{nan, inf, -inf, 0x1p63, -0x1p63, 1e300, -1.9}), Of([]int64{0, math.MaxInt64, math.MinInt64, math.MaxInt64, math.MinInt64, math.MaxInt64, -1})},
		{Of([]float64{nan, inf, -inf, 0x1p64, -1, 0x1p63, 2.9}), Of([]uint64{0, math.MaxUint64, 0, math.MaxUint64, 0, 1 << 63, 2})},
		{Of([]uint64{math.MaxUint64, 1 << 63, 5}), Of([]int64{math.MaxInt64, math.MaxInt64, 5})},
		{Of([]int64{-5, 300, 7}), Of([]uint8{0, 255, 7})},
		{Of([]int64{math.MinInt64, 300, -7}), Of([]I4{-8, 7, -7})},
		{Of([]uint64{math.MaxUint64, 0}), Of([]I2{1, 0})},
		{Of([]float32{float32(nan), 0, float32(math.Copysign(0, -1)), 1e-45}), Of([]bool{true, false, false, true})},
		{Of([]complex64{1i, 0, 2}), Of([]bool{true, false, true})},
		{Of([]complex128{complex(3.5, 4), complex(-1, nan)}), Of([]int16{3, -1})},
		{Of([]complex64{1 + 2i}), Of([]complex128{1 + 2i})},
		{Of([]bool{true, false}), Of([]complex64{1, 0})},
		{Of([]bool{true, false}), Of([]BF16{ToBF16(1), 0})},
		// These two are rounded once to float32, where a detour by float64 would
		// round twice.
		{Of([]int64{1<<60 + 1<<36 + 1, 1<<60 + 3<<36 - 1}), Of([]float32{0x1.000002p60, 0x1.000002p60})},
		{Of([]uint64{1<<60 + 1<<36 + 1, 1<<60 + 3<<36 - 1}), Of([]float32{0x1.000002p60, 0x1.000002p60})},
	}
	for _, tt := range tests {
		if got := cast(tt.from, tt.want.DType()); !got.Equal(tt.want) {
			t.Errorf("%v to %v: got %x, want %x", tt.from, tt.want, got.Bytes(), tt.want.Bytes())
		}
	}
}

func TestConvertErrors(t *testing.T) {
	for _, tt := range []struct {
		dst      int
		dstType  DType
		src      int
		srcType  DType
		want     error
		whatever string
	}{
		{4, Float32, 4, Float64, fault.ErrShape, "half an element"},
		{8, Float32, 8, Float64, fault.ErrShape, "one element too many"},
		{4, Float32, 16, Float64, fault.ErrShape, "one element too few"},
		{5, Float32, 8, Float64, fault.ErrShape, "a byte too many"},
		{4, Invalid, 4, Float32, fault.ErrDType, "invalid"},
		{4, Float32, 4, numDTypes, fault.ErrDType, "invalid"},
		{5, Float32, 4, Float32, fault.ErrShape, "same type"},
	} {
		if err := Convert(make([]byte, tt.dst), tt.dstType, make([]byte, tt.src), tt.srcType); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.whatever, err, tt.want)
		}
	}
	if _, err := Of([]float32{1}).Cast(Invalid); !errors.Is(err, fault.ErrDType) {
		t.Errorf("Cast to invalid: %v", err)
	}
}

func TestConvertDoesNotAllocate(t *testing.T) {
	src, dst := make([]byte, 8*1000), make([]byte, 16*1000)
	for s := Bool; s < numDTypes; s++ {
		for d := Bool; d < numDTypes; d++ {
			if n := testing.AllocsPerRun(1, func() {
				if err := Convert(dst[:400*d.Size()], d, src[:400*s.Size()], s); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%v to %v: %v allocations", s, d, n)
			}
		}
	}
}

func TestCanonicalize(t *testing.T) {
	for d := Bool; d < numDTypes; d++ {
		data := make([]byte, 256)
		for i := range data {
			data[i] = byte(i)
		}
		want := bytes.Clone(data)
		for i := range want {
			switch d {
			case Bool:
				want[i] = byte(min(i, 1))
			case Int2:
				want[i] = byte((i&3 ^ 2) - 2)
			case Int4:
				want[i] = byte((i&15 ^ 8) - 8)
			case Float4E2M1FN:
				want[i] = byte(i & 15)
			case Float6E2M3FN, Float6E3M2FN:
				want[i] = byte(i & 63)
			}
		}
		Canonicalize(d, data)
		if !bytes.Equal(data, want) {
			t.Errorf("%v: %x", d, data)
		}
	}
}

// All float16 and bfloat16 values survive float32, and all bytes of the small
// formats that are numbers do as well.
func TestSmallFloatsSurvive(t *testing.T) {
	for _, d := range dtypesOf(isFloat) {
		if d.Size() > 2 {
			continue
		}
		n := 1 << (8 * d.Size())
		if d == Float4E2M1FN {
			n = 16
		}
		src := make([]byte, n*d.Size())
		for i := range n {
			src[i*d.Size()] = byte(i)
			if d.Size() == 2 {
				src[2*i+1] = byte(i >> 8)
			}
		}
		wide, back := make([]byte, 4*n), make([]byte, len(src))
		if err := errors.Join(Convert(wide, Float32, src, d), Convert(back, d, wide, Float32)); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if f32At(wide, i) == f32At(wide, i) && !bytes.Equal(src[i*d.Size():][:d.Size()], back[i*d.Size():][:d.Size()]) {
				t.Errorf("%v %#x became %x", d, i, back[i*d.Size():][:d.Size()])
			}
		}
	}
}

func BenchmarkConvert(b *testing.B) {
	for _, p := range [][2]DType{
		{Float32, BFloat16}, {BFloat16, Float32}, {Float32, Float16}, {Float16, Float32}, {Float32, Float64},
		{Float64, Float32}, {Float32, Float8E4M3FN}, {Float8E4M3FN, Float32}, {BFloat16, Float8E4M3FN}, {Int64, Int32}, {Float32, Int8},
	} {
		b.Run(p[0].String()+"_"+p[1].String(), func(b *testing.B) {
			const n = 1 << 16
			vals := make([]float32, n)
			for i := range vals {
				vals[i] = float32(math.Sin(float64(i)) * 100)
			}
			src, err := Of(vals).Cast(p[0])
			if err != nil {
				b.Fatal(err)
			}
			dst := make([]byte, n*p[1].Size())
			b.SetBytes(int64(len(src.Bytes())))
			for b.Loop() {
				if err := Convert(dst, p[1], src.Bytes(), p[0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
