package safetensors

import (
	"fmt"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// bitsOf returns the number of bits of an element of dtype d in a file.
func bitsOf(d array.DType) int {
	switch d {
	case array.Float4E2M1FN:
		return 4
	case array.Float6E2M3FN, array.Float6E3M2FN:
		return 6
	}
	return 8 * d.Size()
}

// Packed reports whether elements of dtype d share bytes in a file, as those of F4,
// F6_E2M3 and F6_E3M2 do. [Unpack] gives each element its own byte. [Layout] refuses
// these dtypes.
func Packed(d array.DType) bool { return d.Size() > 0 && bitsOf(d) < 8 }

// Unpack sets dst, which has a byte for each element, to the elements of a packed dtype
// in src. The elements begin at the first bit of src. They follow each other from the
// lowest bit of a byte up, so the first of two in a byte is in its lower half. This is
// PyTorch's order for F4, in float4_e2m1fn_x2. No library defines the order for the types
// of six bits; Unpack reads them in the same way, four elements in three bytes.
//
// A dtype that is not packed is an error that matches orbax.ErrDType. If src does not
// have the length of the elements, the error matches orbax.ErrCorrupt. dst and src must
// not overlap.
func Unpack(d array.DType, dst, src []byte) error {
	if !Packed(d) {
		return fmt.Errorf("%w: elements of %v do not share bytes", fault.ErrDType, d)
	}
	bits := bitsOf(d)
	if want := (len(dst)*bits + 7) / 8; len(src) != want {
		return fmt.Errorf("%w: %d bytes for %d elements of %v, which take %d", fault.ErrCorrupt, len(src), len(dst), d, want)
	}
	if bits == 4 {
		for i := range dst {
			dst[i] = src[i/2] >> (i % 2 * 4) & 0x0f
		}
		return nil
	}
	held, n := uint(0), 0 // bits of src that are not in dst yet, and their number
	for i := range dst {
		if n < bits {
			held |= uint(src[0]) << n
			src, n = src[1:], n+8
		}
		dst[i] = byte(held & (1<<bits - 1))
		held, n = held>>bits, n-bits
	}
	return nil
}
