package zarr

import (
	"fmt"
	"strings"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// names2 holds the format 2 names that differ from the dtype's own, without the byte
// order that precedes them.
var names2 = map[array.DType]string{
	array.Bool:       "b1",
	array.Int8:       "i1",
	array.Int16:      "i2",
	array.Int32:      "i4",
	array.Int64:      "i8",
	array.Uint8:      "u1",
	array.Uint16:     "u2",
	array.Uint32:     "u4",
	array.Uint64:     "u8",
	array.Float16:    "f2",
	array.Float32:    "f4",
	array.Float64:    "f8",
	array.Complex64:  "c8",
	array.Complex128: "c16",
}

var dtypes2 = func() map[string]array.DType {
	m := make(map[string]array.DType)
	for d, name := range names2 {
		m[name] = d
	}
	return m
}()

// name2 returns the format 2 name of d, little-endian.
func name2(d array.DType) string {
	name, ok := names2[d]
	switch {
	case !ok:
		return d.String() // bfloat16, float8_*, int4 and the like
	case d.Size() == 1:
		return "|" + name
	}
	return "<" + name
}

// parseName2 parses a format 2 dtype. As in TensorStore, only one-byte types may have
// "|", and they may also have a byte order, which means nothing.
func parseName2(name string) (d array.DType, big bool, err error) {
	if name != "" && strings.Contains("<>|", name[:1]) {
		d, ok := dtypes2[name[1:]]
		if ok && (name[0] != '|' || d.Size() == 1) {
			return d, name[0] == '>', nil
		}
	} else if d, err := array.ParseDType(name); err == nil && names2[d] == "" {
		return d, false, nil
	}
	return array.Invalid, false, fmt.Errorf("%w: dtype %q", fault.ErrUnsupported, name)
}

// swapUnit returns the size of the unit to which a byte order applies.
func swapUnit(d array.DType) int {
	if d.IsComplex() {
		return d.Size() / 2
	}
	return d.Size()
}

// intBits returns the width and signedness of an integer dtype. ok is false for other
// dtypes.
func intBits(d array.DType) (bits int, signed, ok bool) {
	switch d {
	case array.Int2:
		return 2, true, true
	case array.Int4:
		return 4, true, true
	case array.Int8, array.Int16, array.Int32, array.Int64:
		return d.Size() * 8, true, true
	case array.Uint8, array.Uint16, array.Uint32, array.Uint64:
		return d.Size() * 8, false, true
	}
	return 0, false, false
}

// zeroFill returns the fill value that TensorStore writes for d in format 3.
func zeroFill(d array.DType) string {
	switch {
	case d.IsInteger():
		return "0"
	case d == array.Bool:
		return "false"
	case d.IsComplex():
		return "[0.0,0.0]"
	}
	return "0.0"
}
