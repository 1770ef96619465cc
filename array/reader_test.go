package array

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/sharding"
)

var _, _ Reader = (*Array)(nil), (*Section)(nil)

// A region is its elements in row-major order, and a section reads it in runs as
// long as they can be.
func TestReadRegion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape := rapid.SliceOfN(rapid.IntRange(0, 4), 0, 4).Draw(t, "shape")
		off, size := make([]int, len(shape)), make([]int, len(shape))
		elements, area := 1, 1
		for i, d := range shape {
			off[i] = rapid.IntRange(0, d).Draw(t, "offset")
			size[i] = rapid.IntRange(0, d-off[i]).Draw(t, "size")
			elements *= d
			area *= size[i]
		}
		values := make([]uint16, elements)
		var want []uint16
		runs, last := 0, -2
		for e := range values {
			values[e] = uint16(e)
			inside, rest := true, e
			for i := len(shape) - 1; i >= 0; i-- {
				x := rest % shape[i]
				rest /= shape[i]
				inside = inside && off[i] <= x && x < off[i]+size[i]
			}
			if inside {
				want = append(want, uint16(e))
				if e != last+1 {
					runs++
				}
				last = e
			}
		}
		a, err := New(Uint16, shape, bytesOf(values))
		if err != nil {
			t.Fatal(err)
		}
		const start = 3
		file := &countingReader{r: bytes.NewReader(append(make([]byte, start), a.Bytes()...))}
		s, err := NewSection(Uint16, shape, file, start)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []Reader{a, s} {
			got := make([]uint16, area)
			if err := r.ReadRegion(t.Context(), bytesOf(got), off, size); err != nil || !slices.Equal(got, want) {
				t.Fatalf("%T: %v at %v of %v: %v, %v, want %v", r, size, off, shape, got, err, want)
			}
		}
		if file.reads > runs {
			t.Fatalf("%v at %v of %v: %d reads of %d runs", size, off, shape, file.reads, runs)
		}
	})
}

type countingReader struct {
	r     io.ReaderAt
	reads int
}

func (c *countingReader) ReadAt(p []byte, off int64) (int, error) {
	c.reads++
	return c.r.ReadAt(p, off)
}

func TestReadRegionErrors(t *testing.T) {
	a := Of([]int8{1, 2, 3, 4}, 2, 2)
	s, err := NewSection(Int8, []int{2, 2}, bytes.NewReader([]byte{1, 2, 3}), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []Reader{a, s} {
		for _, tt := range []struct {
			bytes     int
			off, size []int
		}{
			{1, []int{0, 0}, []int{1, 2}},
			{2, []int{0, 1}, []int{1, 2}},
			{2, []int{-1, 0}, []int{1, 2}},
			{2, []int{0, 0}, []int{2}},
			{2, []int{0}, []int{1, 2}},
			{0, []int{math.MaxInt, 0}, []int{1, 0}},
			{2, []int{0, 0}, []int{-1, -2}},
		} {
			if err := r.ReadRegion(t.Context(), make([]byte, tt.bytes), tt.off, tt.size); !errors.Is(err, fault.ErrShape) {
				t.Errorf("%T: %v at %v into %d bytes: %v", r, tt.size, tt.off, tt.bytes, err)
			}
		}
	}
	if err := s.ReadRegion(t.Context(), make([]byte, 2), []int{1, 0}, []int{1, 2}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short file: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.ReadRegion(ctx, make([]byte, 2), []int{0, 0}, []int{1, 2}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for _, zero := range []Reader{&Array{}, &Section{}} {
		if err := zero.ReadRegion(t.Context(), nil, nil, nil); err == nil {
			t.Errorf("the zero %T was read", zero)
		}
	}
	if _, err := NewSection(Int16, []int{1}, bytes.NewReader(nil), math.MaxInt64); !errors.Is(err, fault.ErrShape) {
		t.Errorf("offset: %v", err)
	}
}

func TestShapeDtypeStruct(t *testing.T) {
	mesh := sharding.Mesh{Shape: []int{2}, AxisNames: []string{"x"}, DeviceIDs: []int{0, 1}}
	split := sharding.Named(mesh, sharding.PartitionSpec{{"x"}})
	s := Abstract(Of([]float32{1, 2}).WithSharding(split))
	if got := s.String(); got != "float32[2]" || s.Sharding != split || s.Validate() != nil {
		t.Errorf("%s, sharding %v, %v", got, s.Sharding, s.Validate())
	}
	section, err := NewSection(Int4, []int{2, 3}, bytes.NewReader(nil), 0)
	if err != nil {
		t.Fatal(err)
	}
	if s := Abstract(section); s.String() != "int4[2 3]" || s.Sharding != nil {
		t.Errorf("section: %v", s)
	}
	for _, tt := range []struct {
		s  ShapeDtypeStruct
		is error
	}{
		{ShapeDtypeStruct{DType: Float32}, nil},
		{ShapeDtypeStruct{}, fault.ErrDType},
		{ShapeDtypeStruct{[]int{-1}, Int8, nil}, fault.ErrShape},
		{ShapeDtypeStruct{[]int{3}, Int8, split}, fault.ErrShape},
		{ShapeDtypeStruct{[]int{3}, Int8, &sharding.Sharding{Raw: `{"sharding_type": "new"}`}}, nil},
		{ShapeDtypeStruct{[]int{3}, Int8, &sharding.Sharding{}}, fault.ErrStructure},
	} {
		if err := tt.s.Validate(); (tt.is == nil) != (err == nil) || !errors.Is(err, tt.is) {
			t.Errorf("%v: %v", tt.s, err)
		}
	}
}
