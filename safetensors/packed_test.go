package safetensors_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/safetensors"
)

// The dtypes of today's format, each by its name and the bytes of eight elements.
func TestReadHeaderDTypes(t *testing.T) {
	for _, c := range []struct {
		name  string
		dtype array.DType
		bytes int64
	}{
		{"F4", array.Float4E2M1FN, 4}, {"F6_E2M3", array.Float6E2M3FN, 6}, {"F6_E3M2", array.Float6E3M2FN, 6},
		{"F8_E8M0", array.Float8E8M0FNU, 8}, {"F8_E4M3", array.Float8E4M3FN, 8}, {"C64", array.Complex64, 64},
	} {
		h, err := readHeader(file(`{"a":`+tensor(c.name, "[2,4]", 0, uint64(c.bytes))+`}`, int(c.bytes)))
		if err != nil || h.Tensors[0].DType != c.dtype || h.Tensors[0].Length != c.bytes || h.Tensors[0].Err != nil {
			t.Errorf("%s: got %+v, %v; want %v of %d bytes", c.name, h, err, c.dtype, c.bytes)
		}
	}
}

// A dtype that is not known concerns its tensor alone.
func TestReadHeaderUnknownDType(t *testing.T) {
	h, err := readHeader(file(`{"a":`+tensor("F3_NEW", "[5]", 0, 2)+`,"b":`+tensor("U8", "[3]", 2, 5)+`}`, 5))
	if err != nil {
		t.Fatal(err)
	}
	a, b := h.Tensors[0], h.Tensors[1]
	if !errors.Is(a.Err, fault.ErrDType) || a.DType != array.Invalid || a.Length != 2 || !slices.Equal(a.Shape, []int{5}) {
		t.Errorf("a: got %+v, want shape [5] of 2 bytes, and ErrDType", a)
	}
	if b.Err != nil || b.DType != array.Uint8 || b.Length != 3 {
		t.Errorf("b: %+v", b)
	}
}

func TestUnpack(t *testing.T) {
	for _, c := range []struct {
		dtype array.DType
		src   []byte
		want  []byte
	}{
		{array.Float4E2M1FN, []byte{0x21, 0xf3}, []byte{1, 2, 3, 15}},
		{array.Float4E2M1FN, []byte{0x21, 0x03}, []byte{1, 2, 3}},
		{array.Float4E2M1FN, nil, nil},
		// 1, 2, 63, 32 from the lowest bit up: 000001, 010000, 111111, 000001.
		{array.Float6E2M3FN, []byte{0x81, 0xf0, 0x83}, []byte{1, 2, 63, 32}},
		{array.Float6E3M2FN, []byte{0x81, 0xf0, 0x83, 0x3f}, []byte{1, 2, 63, 32, 63}},
	} {
		got := make([]byte, len(c.want))
		if err := safetensors.Unpack(c.dtype, got, c.src); err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%v %x: %v, %v, want %v", c.dtype, c.src, got, err, c.want)
		}
	}
	if err := safetensors.Unpack(array.Float4E2M1FN, make([]byte, 3), []byte{1}); !errors.Is(err, fault.ErrCorrupt) {
		t.Errorf("too short: %v", err)
	}
	if err := safetensors.Unpack(array.Int8, nil, nil); !errors.Is(err, fault.ErrDType) || safetensors.Packed(array.Int8) || safetensors.Packed(array.Invalid) {
		t.Errorf("not packed: %v", err)
	}
}
