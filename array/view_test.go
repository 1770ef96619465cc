package array

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/sharding"
)

func testElement[T Element](t *testing.T, want DType, values ...T) {
	t.Helper()
	typ := reflect.TypeFor[T]()
	if got := DTypeOf[T](); got != want || ElementDType(typ) != want {
		t.Errorf("DTypeOf[%v] = %v, ElementDType = %v, want %v", typ, got, ElementDType(typ), want)
	}
	if size := int(unsafe.Sizeof(values[0])); size != want.Size() {
		t.Errorf("%T takes %d bytes, %v %d", values[0], size, want, want.Size())
	}
	a := Of(values)
	got, err := Values[T](a)
	if err != nil || !slices.Equal(got, values) {
		t.Errorf("%v: got %v, %v", values, got, err)
	}
	if unsafe.SliceData(got) != unsafe.SliceData(values) {
		t.Errorf("%v: Values copied", want)
	}
	if s := Scalar(values[0]); s.Rank() != 0 || s.Len() != 1 || s.DType() != want || !bytes.Equal(s.Bytes(), a.Bytes()[:want.Size()]) {
		t.Errorf("Scalar(%v) = %v", values[0], s)
	}
	v, ok := Scalar(values[0]).Item()
	if (typ.Kind() == reflect.Int8 || typ.Kind() == reflect.Uint8 || typ.Kind() == reflect.Uint16) && typ.PkgPath() != "" {
		if ok || ScalarOf(values[0]) != nil {
			t.Errorf("%v is an item %v (%T), and an array %v", typ, v, v, ScalarOf(values[0]))
		}
	} else if !ok || ElementDType(reflect.TypeOf(v)) != want || !ScalarOf(v).Equal(Scalar(values[0])) {
		t.Errorf("%v: item %v (%T)", typ, v, v)
	}
	if empty, err := Values[T](Of([]T(nil))); err != nil || empty == nil || len(empty) != 0 {
		t.Errorf("%v: no elements: %v, %v", want, empty, err)
	}
}

func TestElements(t *testing.T) {
	type myFloat float32
	type myBool bool
	testElement(t, Bool, true, false)
	testElement(t, Bool, myBool(true))
	testElement[int](t, Int64, -1, math.MaxInt)
	testElement[int8](t, Int8, -1, 2)
	testElement[int16](t, Int16, -1, 2)
	testElement[int32](t, Int32, -1, 2)
	testElement[int64](t, Int64, -1, 2)
	testElement[uint](t, Uint64, 1, math.MaxUint)
	testElement[uint8](t, Uint8, 1, 2)
	testElement[uint16](t, Uint16, 1, 2)
	testElement[uint32](t, Uint32, 1, 2)
	testElement[uint64](t, Uint64, 1, 2)
	testElement[float32](t, Float32, 1, 2)
	testElement[myFloat](t, Float32, 1, 2)
	testElement[float64](t, Float64, 1, 2)
	testElement[complex64](t, Complex64, 1i, 2)
	testElement[complex128](t, Complex128, 1i, 2)
	testElement[BF16](t, BFloat16, 1, 2)
	testElement[F16](t, Float16, 1, 2)
	testElement[F8E3M4](t, Float8E3M4, 1, 2)
	testElement[F8E4M3B11FNUZ](t, Float8E4M3B11FNUZ, 1, 2)
	testElement[F8E4M3FN](t, Float8E4M3FN, 1, 2)
	testElement[F8E4M3FNUZ](t, Float8E4M3FNUZ, 1, 2)
	testElement[F8E5M2](t, Float8E5M2, 1, 2)
	testElement[F8E5M2FNUZ](t, Float8E5M2FNUZ, 1, 2)
	testElement[F8E8M0FNU](t, Float8E8M0FNU, 1, 2)
	testElement[F4E2M1FN](t, Float4E2M1FN, 1, 2)
	testElement[I2](t, Int2, -2, 1)
	testElement[I4](t, Int4, -8, 7)
}

func TestItem(t *testing.T) {
	for _, v := range []any{nil, "x", []int8{1}, struct{}{}, uintptr(1), BF16(1), new(int)} {
		if a := ScalarOf(v); a != nil {
			t.Errorf("%#v (%T) is %v", v, v, a)
		}
	}
	for _, a := range []*Array{Of([]int8{1}), Of([]int8{1}, 1, 1), {}, Scalar(ToBF16(1))} {
		if v, ok := a.Item(); ok {
			t.Errorf("%v has the item %v", a, v)
		}
	}
	if d := ElementDType(nil); d != Invalid {
		t.Errorf("no type has dtype %v", d)
	}
	misaligned := make([]byte, 17)[1:]
	misaligned[7] = 0x80
	a, err := New(Complex128, nil, misaligned)
	if err != nil {
		t.Fatal(err)
	}
	v, ok := a.Item()
	if c, isComplex := v.(complex128); !ok || !isComplex || !math.Signbit(real(c)) {
		t.Errorf("item %v", v)
	}
	// A signaling NaN stays one.
	snan, err := New(Float32, nil, []byte{1, 0, 0x80, 0x7f})
	if err != nil {
		t.Fatal(err)
	}
	v, _ = snan.Item()
	if back := ScalarOf(v); !back.Equal(snan) {
		t.Errorf("% x became % x", snan.Bytes(), back.Bytes())
	}
}

// The Go types convert as Convert does.
func TestElementConversions(t *testing.T) {
	for _, v := range []float32{0, 1, -1.5, 0.3, 5, 1e-3, 1e9, -1e9, float32(math.Inf(1)), float32(math.NaN())} {
		for d, got := range map[DType][2]float32{
			BFloat16:          {float32(ToBF16(v)), ToBF16(v).Float32()},
			Float16:           {float32(ToF16(v)), ToF16(v).Float32()},
			Float8E3M4:        {float32(ToF8E3M4(v)), ToF8E3M4(v).Float32()},
			Float8E4M3B11FNUZ: {float32(ToF8E4M3B11FNUZ(v)), ToF8E4M3B11FNUZ(v).Float32()},
			Float8E4M3FN:      {float32(ToF8E4M3FN(v)), ToF8E4M3FN(v).Float32()},
			Float8E4M3FNUZ:    {float32(ToF8E4M3FNUZ(v)), ToF8E4M3FNUZ(v).Float32()},
			Float8E5M2:        {float32(ToF8E5M2(v)), ToF8E5M2(v).Float32()},
			Float8E5M2FNUZ:    {float32(ToF8E5M2FNUZ(v)), ToF8E5M2FNUZ(v).Float32()},
			Float8E8M0FNU:     {float32(ToF8E8M0FNU(v)), ToF8E8M0FNU(v).Float32()},
			Float4E2M1FN:      {float32(ToF4E2M1FN(v)), ToF4E2M1FN(v).Float32()},
		} {
			small, err := Of([]float32{v}).Cast(d)
			if err != nil {
				t.Fatal(err)
			}
			bits := int(small.Bytes()[0])
			if d.Size() == 2 {
				bits |= int(small.Bytes()[1]) << 8
			}
			wide, err := small.Cast(Float32)
			if err != nil {
				t.Fatal(err)
			}
			if want := f32At(wide.Bytes(), 0); got[0] != float32(bits) || got[1] != want && (got[1] == got[1] || want == want) {
				t.Errorf("%v of %v: bits %#x value %v, want %#x and %v", d, v, int(got[0]), got[1], bits, want)
			}
		}
	}
}

func TestOfPanics(t *testing.T) {
	for _, shape := range [][]int{{2, 2}, {-1}, {-1, -3}, {math.MaxInt, math.MaxInt}, {0}} {
		func() {
			defer func() {
				if msg, _ := recover().(string); !strings.Contains(msg, "3 elements in shape") {
					t.Errorf("shape %v: panicked with %q", shape, msg)
				}
			}()
			Of([]int32{1, 2, 3}, shape...)
		}()
	}
}

func TestValuesErrors(t *testing.T) {
	if _, err := Values[float64](Of([]float32{1, 2})); !errors.Is(err, fault.ErrDType) {
		t.Errorf("float32 as float64: %v", err)
	}
	if _, err := Values[uint16](Of([]BF16{1})); !errors.Is(err, fault.ErrDType) {
		t.Errorf("bfloat16 as uint16: %v", err)
	}
	odd, err := New(Int32, []int{2}, alloc(16)[1:9])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Values[int32](odd); !errors.Is(err, fault.ErrUnsupported) {
		t.Errorf("misaligned: %v", err)
	}
	if _, err := Values[int32](odd.Clone()); err != nil {
		t.Errorf("misaligned, cloned: %v", err)
	}
	for at := range 19 {
		flags := make([]byte, 19)
		flags[at] = 2
		a, err := New(Bool, []int{19}, flags)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Values[bool](a); !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("bool of 2 at %d: %v", at, err)
		}
		Canonicalize(Bool, flags)
		if v, err := Values[bool](a); err != nil || !v[at] {
			t.Errorf("bool of 2 at %d, canonical: %v, %v", at, v, err)
		}
	}
}

// Memory that is not aligned converts as memory that is.
func TestConvertMisaligned(t *testing.T) {
	values := make([]float64, 700)
	for i := range values {
		values[i] = math.Sin(float64(i)) * math.Exp(float64(i%40-20))
	}
	for _, s := range dtypesOf(isFloat) {
		src, err := Of(values).Cast(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range dtypesOf(isFloat) {
			want, err := src.Cast(d)
			if err != nil {
				t.Fatal(err)
			}
			odd, out := alloc(len(src.data) + 1)[1:], alloc(len(want.data) + 1)[1:]
			copy(odd, src.data)
			if err := Convert(out, d, odd, s); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out, want.data) {
				t.Errorf("%v to %v differs when misaligned", s, d)
			}
		}
	}
}

func TestNew(t *testing.T) {
	for _, tt := range []struct {
		d     DType
		shape []int
		data  []byte
		want  error
	}{
		{Invalid, nil, nil, fault.ErrDType},
		{numDTypes, nil, nil, fault.ErrDType},
		{Float32, []int{-1}, nil, fault.ErrShape},
		{Float32, []int{math.MaxInt / 2, 3}, nil, fault.ErrShape},
		{Float32, []int{math.MaxInt / 4}, nil, fault.ErrShape},
		{Complex128, []int{math.MaxInt / 2}, nil, fault.ErrShape},
		{Float32, []int{2}, make([]byte, 7), fault.ErrShape},
		{Float32, []int{2}, []byte{}, fault.ErrShape},
		{Float32, []int{2, 0, 3}, nil, nil},
		{Float32, nil, nil, nil},
	} {
		a, err := New(tt.d, tt.shape, tt.data)
		if !errors.Is(err, tt.want) {
			t.Errorf("New(%v, %v, %d bytes): %v, want %v", tt.d, tt.shape, len(tt.data), err, tt.want)
		}
		if err == nil && a.Bytes() == nil {
			t.Errorf("New(%v, %v): nil bytes", tt.d, tt.shape)
		}
	}
}

func TestCloneEqual(t *testing.T) {
	a := Of([]float32{1, float32(math.NaN())}, 1, 2).WithSharding(sharding.SingleDevice("cpu:0"))
	b := a.Clone()
	if !a.Equal(b) || b.Sharding() != a.Sharding() {
		t.Error("a clone differs")
	}
	b.Bytes()[0]++
	if a.Equal(b) {
		t.Error("a clone shares memory")
	}
	for _, c := range []*Array{nil, Of([]float32{1, 2}, 1, 2), Of([]float32{1, float32(math.NaN())}), Of([]int32{0x3f800000, 0x7fc00000}, 1, 2)} {
		if a.Equal(c) || c.Equal(a) {
			t.Errorf("%v equals %v", a, c)
		}
	}
	if !(*Array)(nil).Equal(nil) {
		t.Error("nil differs from nil")
	}
}

func TestPRNGKey(t *testing.T) {
	data := func(shape ...int) *Array {
		a, err := New(Uint32, shape, nil)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for _, tt := range []struct {
		impl string
		data *Array
		want error
	}{
		{"threefry2x32", data(2), nil},
		{"threefry2x32", data(5, 3, 2), nil},
		{"rbg", data(4), nil},
		{"unsafe_rbg", data(3, 4), nil},
		{"mine", data(7), nil},
		{"mine", data(), nil},
		{"threefry2x32", data(), fault.ErrShape},
		{"threefry2x32", data(4), fault.ErrShape},
		{"rbg", data(4, 2), fault.ErrShape},
		{"rbg", Of([]int32{1, 2, 3, 4}), fault.ErrDType},
		{"", data(2), fault.ErrUsage},
	} {
		key, err := PRNGKey(tt.impl, tt.data)
		if !errors.Is(err, tt.want) {
			t.Errorf("%q over %v: %v, want %v", tt.impl, tt.data, err, tt.want)
		}
		if err != nil {
			continue
		}
		if key.PRNGImpl() != tt.impl || tt.data.PRNGImpl() != "" || key.Equal(tt.data) {
			t.Errorf("%q: %v over %v", tt.impl, key, tt.data)
		}
		if _, err := key.Cast(Float32); !errors.Is(err, fault.ErrDType) {
			t.Errorf("keys cast: %v", err)
		}
	}
}

func TestFormat(t *testing.T) {
	key, err := PRNGKey("threefry2x32", Of([]uint32{1, 2}))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		a     *Array
		whole string
		elems []string
	}{
		{Of([]float32{0.1, -0, 1e30, float32(math.NaN()), float32(math.Inf(-1)), 16777216}, 2, 3), "float32[2 3]", []string{"0.1", "0", "1e+30", "NaN", "-Inf", "1.6777216e+07"}},
		{Scalar(0.1), "float64[]", []string{"0.1"}},
		{Of([]float64{1e100, 1.0 / 3}), "float64[2]", []string{"1e+100", "0.3333333333333333"}},
		{Of([]bool{true, false}), "bool[2]", []string{"true", "false"}},
		{Of([]int64{math.MinInt64}), "int64[1]", []string{"-9223372036854775808"}},
		{Of([]uint64{math.MaxUint64}), "uint64[1]", []string{"18446744073709551615"}},
		{Of([]I4{-8, 7}), "int4[2]", []string{"-8", "7"}},
		{Of([]I2{-2, 1}), "int2[2]", []string{"-2", "1"}},
		{Of([]BF16{ToBF16(0.1), ToBF16(3)}), "bfloat16[2]", []string{"0.100097656", "3"}},
		{Of([]F8E4M3FN{ToF8E4M3FN(448), 0x7f, 0x80}), "float8_e4m3fn[3]", []string{"448", "NaN", "-0"}},
		{Of([]F8E8M0FNU{127, 128}), "float8_e8m0fnu[2]", []string{"1", "2"}},
		{Of([]complex64{1 + 2i, -0.1i}), "complex64[2]", []string{"(1+2i)", "(0-0.1i)"}},
		{Of([]complex128{complex(math.Inf(1), math.NaN())}), "complex128[1]", []string{"(+Inf+NaNi)"}},
		{key, "key<threefry2x32>[2]", []string{"1", "2"}},
	} {
		if got := tt.a.String(); got != tt.whole {
			t.Errorf("%s, want %s", got, tt.whole)
		}
		for i, want := range tt.elems {
			if got := tt.a.FormatElement(i); got != want {
				t.Errorf("%s: element %d: %s, want %s", tt.whole, i, got, want)
			}
		}
	}
}

func TestDTypes(t *testing.T) {
	for d := Bool; d < numDTypes; d++ {
		if got, err := ParseDType(d.String()); err != nil || got != d {
			t.Errorf("%v: %v, %v", d, got, err)
		}
	}
	for _, name := range []string{"", "invalid", "Float32", "float8_e4m3", "string"} {
		t.Run(name, func(t *testing.T) {
			if d, err := ParseDType(name); !errors.Is(err, fault.ErrDType) {
				t.Errorf("got %v, %v, want %v", d, err, fault.ErrDType)
			}
		})
	}
	if d := numDTypes; d.Size() != 0 || d.String() != "DType(28)" {
		t.Errorf("%v of %d bytes", d, d.Size())
	}
}
