package array

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
)

// String returns the array's dtype and shape, such as float32[2 3]. For PRNG keys it also
// returns the generator: key<threefry2x32>[8 2].
func (a *Array) String() string {
	name := a.dtype.String()
	if a.prngImpl != "" {
		name = "key<" + a.prngImpl + ">"
	}
	return name + fmt.Sprint(a.shape)
}

// FormatElement returns the text of the i-th element in row-major order. It is the
// shortest text that gives the same value when parsed, such as 0.1, -3, true, NaN or
// (1+2i). Floats of at most 16 bits print as float32. FormatElement panics unless 0 <= i
// < a.Len().
func (a *Array) FormatElement(i int) string {
	size := a.dtype.Size()
	e := a.data[i*size : (i+1)*size]
	switch a.dtype {
	case Bool:
		return strconv.FormatBool(e[0] != 0)
	case Uint8, Uint16, Uint32, Uint64:
		var v [1]uint64
		loadUints(v[:], e, a.dtype)
		return strconv.FormatUint(v[0], 10)
	case Int2, Int4, Int8, Int16, Int32, Int64:
		var v [1]int64
		loadInts(v[:], e, a.dtype)
		return strconv.FormatInt(v[0], 10)
	case Float64:
		return strconv.FormatFloat(math.Float64frombits(binary.LittleEndian.Uint64(e)), 'g', -1, 64)
	case Complex64, Complex128:
		var v [1]complex128
		loadComplex(v[:], e, a.dtype)
		return strconv.FormatComplex(v[0], 'g', -1, size*8)
	}
	// Floats of at most 32 bits are exact as float32 and print as such. The shortest
	// digits for the narrow type itself would show 448 as 450.
	var v [1]float64
	loadFloats(v[:], e, a.dtype)
	return strconv.FormatFloat(v[0], 'g', -1, 32)
}
