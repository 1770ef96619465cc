// Package safetensors reads and writes the flat tensor files of the safetensors project:
// named tensors in one file, with string metadata, without nesting.
//
// The package computes and checks the layout of files. It moves no tensor data, so the
// caller decides how bytes are read and written. To read, call [ReadHeader] and read each
// tensor's bytes at its offset:
//
//	h, err := safetensors.ReadHeader(f, size)
//	for _, t := range h.Tensors {
//		_, err = f.ReadAt(buf[:t.Length], t.Offset)
//	}
//
// To write, call [Layout] and write the bytes that it returns. Then write the tensors:
// one after the other in the order of [Header.Tensors], or in any order, also
// concurrently, at their offsets.
//
// A file is a little-endian uint64 N, N bytes of JSON, and the tensors' bytes, row-major
// and little-endian, without gaps:
//
//	{"__metadata__": {"k": "v"}, "w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
//
// Offsets count from the end of the JSON. The package accepts and writes the same files
// as version 0.8.0 of the reference implementation, with three exceptions:
//
//   - Repeated names are refused everywhere. The reference silently merges them inside
//     "__metadata__".
//   - The dtypes narrower than a byte (F4, F6_E2M3, F6_E3M2) are read but not written;
//     see [Packed].
//   - An unknown dtype makes only its own tensor unreadable.
package safetensors

import (
	"fmt"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// Ext is the extension of safetensors files.
const Ext = ".safetensors"

// maxHeader is the longest JSON header that the reference implementation reads.
const maxHeader = 100_000_000

// prefixLen is the length of the header's size, which precedes the header.
const prefixLen = 8

const metadataKey = "__metadata__"

// Header describes the contents of a file.
type Header struct {
	// Tensors are in the order of their bytes in the file, without gaps.
	Tensors []Tensor
	// Metadata is the file's free-form metadata, nil if the file has none.
	Metadata map[string]string
}

// Tensor describes one tensor and the place of its bytes.
type Tensor struct {
	Name  string
	DType array.DType
	Shape []int // outermost dimension first; empty for a scalar
	// Offset is the offset of the tensor's bytes from the start of the file.
	Offset int64
	// Length is the number of the tensor's bytes. It may be 0.
	Length int64
	// Err is set if the dtype is unknown, so that the bytes cannot be interpreted. DType
	// is then [array.Invalid]. Err matches orbax.ErrDType.
	Err error
}

// dtypeNames is in the order of the list in the reference implementation, which is the
// sort order of its writer. The widest types come last here and first in the file.
var dtypeNames = []struct {
	name  string
	dtype array.DType
}{
	{"BOOL", array.Bool},
	{"F4", array.Float4E2M1FN},
	{"F6_E2M3", array.Float6E2M3FN},
	{"F6_E3M2", array.Float6E3M2FN},
	{"U8", array.Uint8},
	{"I8", array.Int8},
	{"F8_E5M2", array.Float8E5M2},
	{"F8_E4M3", array.Float8E4M3FN},
	{"F8_E8M0", array.Float8E8M0FNU},
	{"F8_E4M3FNUZ", array.Float8E4M3FNUZ},
	{"F8_E5M2FNUZ", array.Float8E5M2FNUZ},
	{"I16", array.Int16},
	{"U16", array.Uint16},
	{"F16", array.Float16},
	{"BF16", array.BFloat16},
	{"I32", array.Int32},
	{"U32", array.Uint32},
	{"F32", array.Float32},
	{"C64", array.Complex64},
	{"F64", array.Float64},
	{"I64", array.Int64},
	{"U64", array.Uint64},
}

// parseDType returns the element type with the given name in files.
func parseDType(name string) (array.DType, error) {
	for _, d := range dtypeNames {
		if d.name == name {
			return d.dtype, nil
		}
	}
	return array.Invalid, fmt.Errorf("%w: unknown safetensors dtype %q", fault.ErrDType, name)
}

// rank returns d's position in dtypeNames, or an error that names a dtype to which d can
// be converted.
func rank(d array.DType) (int, error) {
	for i, n := range dtypeNames {
		if n.dtype == d && !Packed(d) {
			return i, nil
		}
	}
	var advice string
	switch d {
	case array.Int2, array.Int4:
		advice = "cast it to int8"
	case array.Float8E3M4, array.Float8E4M3B11FNUZ:
		advice = "cast it to bfloat16 or float16"
	case array.Float4E2M1FN, array.Float6E2M3FN, array.Float6E3M2FN:
		return 0, fmt.Errorf("%w: several %v share a byte of a safetensors file, which is read and not written: cast it to bfloat16 or float16", fault.ErrDType, d)
	case array.Complex128:
		advice = "cast it to complex64, or store its real and imaginary parts as two float64 tensors"
	default:
		return 0, fmt.Errorf("%w: %v is not an element type", fault.ErrDType, d)
	}
	return 0, fmt.Errorf("%w: safetensors has no %v: %s", fault.ErrDType, d, advice)
}

// byteLen returns the number of bytes of a tensor of dtype d.
func byteLen(d array.DType, shape []int) (int64, error) {
	n, err := array.NumElements(shape)
	if err != nil {
		return 0, err
	}
	if Packed(d) {
		bits := int64(bitsOf(d))
		if int64(n)%8*bits%8 != 0 {
			return 0, fmt.Errorf("%w: %v of %v ends within a byte", fault.ErrShape, shape, d)
		}
		return int64(n)/8*bits + int64(n)%8*bits/8, nil
	}
	const maxInt64 = 1<<63 - 1
	if int64(n) > maxInt64/int64(d.Size()) {
		return 0, fmt.Errorf("%w: %v of %v has too many bytes", fault.ErrShape, shape, d)
	}
	return int64(n) * int64(d.Size()), nil
}
