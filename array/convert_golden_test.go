package array

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"testing"
)

// casts is testdata/casts.json.gz: what NumPy and ml_dtypes make of floats.
type casts struct {
	Values      map[string][]byte    `json:"values"`       // bits as float32 of all values of the byte types
	FromFloat32 map[string][2][]byte `json:"from_float32"` // inputs, results
	FromFloat64 map[string][2][]byte `json:"from_float64"`
}

func loadCasts(t *testing.T) casts {
	t.Helper()
	data, err := os.ReadFile("testdata/casts.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var c casts
	if err := json.NewDecoder(z).Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c
}

func dtypeNamed(t *testing.T, name string) DType {
	t.Helper()
	d, err := ParseDType(name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Every value of the byte formats is what ml_dtypes says it is.
func TestGoldenValues(t *testing.T) {
	c := loadCasts(t)
	if len(c.Values) != 10 {
		t.Fatalf("have %d types, want 10", len(c.Values))
	}
	for name, want := range c.Values {
		d := dtypeNamed(t, name)
		src := make([]byte, len(want)/4)
		for i := range src {
			src[i] = byte(i)
		}
		got := make([]byte, len(want))
		if err := Convert(got, Float32, src, d); err != nil {
			t.Fatal(err)
		}
		for i := range src {
			w, g := f32At(want, i), f32At(got, i)
			if w != g && !(w != w && g != g) || math.Signbit(float64(w)) != math.Signbit(float64(g)) && w == w {
				t.Errorf("%s %#02x: %v, want %v", name, i, g, w)
			}
		}
	}
}

// Every rounding to a small format is what ml_dtypes makes of it, bit for bit.
func TestGoldenFromFloat32(t *testing.T) {
	for name, pair := range loadCasts(t).FromFloat32 {
		testGolden(t, name, Float32, pair)
	}
}

func TestGoldenFromFloat64(t *testing.T) {
	for name, pair := range loadCasts(t).FromFloat64 {
		testGolden(t, name, Float64, pair)
	}
}

func testGolden(t *testing.T, name string, from DType, pair [2][]byte) {
	t.Helper()
	d := dtypeNamed(t, name)
	src, want := pair[0], pair[1]
	got := make([]byte, len(want))
	if err := Convert(got, d, src, from); err != nil {
		t.Fatal(err)
	}
	bad := 0
	for i := range len(want) / d.Size() {
		s, g, w := src[i*from.Size():][:from.Size()], got[i*d.Size():][:d.Size()], want[i*d.Size():][:d.Size()]
		if !bytes.Equal(g, w) {
			if bad++; bad <= 8 {
				x := newOne(from, s)
				t.Errorf("%s of %v %s (%x): got %x %s, want %x %s", name, from, x.FormatElement(0), s, g, newOne(d, g).FormatElement(0), w, newOne(d, w).FormatElement(0))
			}
		}
	}
	if bad > 0 {
		t.Errorf("%s: %d of %d differ", name, bad, len(want)/d.Size())
	}
}

// newOne returns the array of one element that e holds.
func newOne(d DType, e []byte) *Array {
	a, err := New(d, []int{1}, e)
	if err != nil {
		panic(err)
	}
	return a
}

func f32At(b []byte, i int) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
}
