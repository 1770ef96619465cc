package zarr

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-orbax/orbax/array"
)

// Fill sets dst, elements of the array, to the fill value, which is the value of elements
// whose chunk is not stored. As in TensorStore, the fill value of a format 2 array that
// states none is zero.
func (m *Metadata) Fill(dst []byte) { fillWith(dst, m.fill) }

// Filling returns metadata for readers that accept shards without some of their inner
// chunks. [Metadata.DecodeChunk] fills the region of a missing inner chunk with the fill
// value, as TensorStore does. It therefore cannot distinguish an inner chunk that was
// lost from one that was never stored. [Metadata.CheckStored] allows for missing inner
// chunks.
func (m *Metadata) Filling() *Metadata {
	filling := *m
	filling.absent = m.fill
	return &filling
}

// fillWith repeats the element over dst.
func fillWith(dst, element []byte) {
	if !slices.ContainsFunc(element, func(b byte) bool { return b != 0 }) {
		clear(dst)
		return
	}
	for n := copy(dst, element); n < len(dst); {
		n += copy(dst[n:], dst[:n])
	}
}

// parseFill3 returns the element of dtype d for v, a format 3 fill value. It accepts the
// values that TensorStore accepts.
func parseFill3(v any, d array.DType) ([]byte, error) {
	fill := make([]byte, d.Size())
	bits, signed, isInt := intBits(d)
	var ok bool
	switch {
	case d == array.Bool:
		ok = fillBool(fill, v)
	case isInt:
		ok = fillInt(fill, v, bits, signed)
	case d.IsComplex():
		ok = fillPair(fill, v, fillFloat3)
	default:
		ok = fillFloat3(fill, v, d)
	}
	if !ok {
		return nil, corrupt("fill_value %s is not of dtype %v", show(v), d)
	}
	array.Canonicalize(d, fill)
	return fill, nil
}

// parseFill2 does the same for format 2. In that format integers narrower than a byte may
// be any int8, strings are decimal or hexadecimal numbers, and some types can be, or must
// be, the stored bytes in base64.
func parseFill2(v any, d array.DType, big bool) ([]byte, error) {
	fill := make([]byte, d.Size())
	_, signed, isInt := intBits(d)
	_, isList := v.([]any)
	var ok bool
	switch {
	case v == nil:
		ok = true
	case d == array.Bool:
		ok = fillBool(fill, v)
	case isInt:
		ok = fillInt(fill, v, 8*d.Size(), signed)
	case d.IsComplex() && isList:
		ok = fillPair(fill, v, fillFloat2)
	case d.IsComplex(), d == array.Float4E2M1FN:
		ok = fillBase64(fill, v)
		if big {
			swapBytes(fill, swapUnit(d))
		}
	default:
		ok = fillFloat2(fill, v, d)
	}
	if !ok {
		return nil, corrupt("fill_value %s is not of dtype %v", show(v), d)
	}
	array.Canonicalize(d, fill)
	return fill, nil
}

func fillBool(dst []byte, v any) bool {
	b, ok := v.(bool)
	if b {
		dst[0] = 1
	}
	return ok
}

// fillInt stores a whole number of the given number of bits. Like TensorStore it accepts
// 3.0 and 1e18.
func fillInt(dst []byte, v any, bits int, signed bool) bool {
	number, ok := v.(json.Number)
	if !ok {
		return false
	}
	s := string(number)
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != math.Trunc(f) {
		return false
	}
	if !signed {
		u, err := strconv.ParseUint(s, 10, 64)
		if err != nil && f >= 0 && f < 1<<64 {
			u, err = uint64(f), nil
		}
		storeBits(dst, u)
		return err == nil && u <= math.MaxUint64>>(64-bits)
	}
	i, err := strconv.ParseInt(s, 10, 64)
	if err != nil && f >= -1<<63 && f < 1<<63 {
		i, err = int64(f), nil
	}
	storeBits(dst, uint64(i))
	return err == nil && i >= -1<<(bits-1) && i <= 1<<(bits-1)-1
}

// storeBits stores the low bytes of word, as many as fit in dst.
func storeBits(dst []byte, word uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], word)
	copy(dst, b[:])
}

// fillPair stores a complex number. float stores its real and imaginary parts.
func fillPair(dst []byte, v any, float func([]byte, any, array.DType) bool) bool {
	l, ok := v.([]any)
	half := len(dst) / 2
	part := array.Float32
	if half == 8 {
		part = array.Float64
	}
	return ok && len(l) == 2 && float(dst[:half], l[0], part) && float(dst[half:], l[1], part)
}

// fillFloat3 stores a number, a special value by name, or an element by its bits in
// hexadecimal.
func fillFloat3(dst []byte, v any, d array.DType) bool {
	s, isString := v.(string)
	if hex, ok := strings.CutPrefix(s, "0x"); ok && hex != "" && len(hex) <= 2*len(dst) {
		bits, err := strconv.ParseUint(hex, 16, 64)
		storeBits(dst, bits)
		return err == nil
	}
	if isString {
		f, ok := special(s)
		return ok && storeFloat(dst, f, d)
	}
	return fillNumber(dst, v, d)
}

// fillFloat2 stores a number, a special value by name, or a number in a string.
func fillFloat2(dst []byte, v any, d array.DType) bool {
	s, isString := v.(string)
	if !isString {
		return fillNumber(dst, v, d)
	}
	f, ok := special(s)
	if !ok {
		f, ok = parseNumeral(s)
	}
	return ok && storeFloat(dst, f, d)
}

func fillNumber(dst []byte, v any, d array.DType) bool {
	number, ok := v.(json.Number)
	if !ok {
		return false
	}
	f, err := strconv.ParseFloat(string(number), 64)
	if number == "-0" {
		f = 0 // v is an integer
	}
	return err == nil && storeFloat(dst, f, d)
}

func special(s string) (f float64, ok bool) {
	switch s {
	case "NaN":
		return math.Float64frombits(0x7ff8 << 48), true // not math.NaN, which sets another bit
	case "Infinity":
		return math.Inf(1), true
	case "-Infinity":
		return math.Inf(-1), true
	}
	return 0, false
}

// parseNumeral parses the numbers that C's strtod accepts, except the names of special
// values, with white space around them.
func parseNumeral(s string) (f float64, ok bool) {
	s = strings.Trim(s, " \t\n\v\f\r")
	lower := strings.ToLower(s)
	if strings.ContainsAny(lower, "_in") {
		return 0, false // Go's digit separators, infinity, nan
	}
	if strings.Contains(lower, "0x") && !strings.Contains(lower, "p") {
		s += "p0"
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// storeFloat stores f, rounded to d as TensorStore does: to the 16-bit types by way of
// float32, to others directly.
func storeFloat(dst []byte, f float64, d array.DType) bool {
	src, from := binary.LittleEndian.AppendUint64(nil, math.Float64bits(f)), array.Float64
	switch {
	case d == array.Float8E8M0FNU:
		dst[0] = e8m0(f)
		return true
	case d.Size() == 2:
		src, from = binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(f))), array.Float32
	case d.Size() == 1:
		src, from = binary.LittleEndian.AppendUint32(nil, math.Float32bits(roundOdd(f))), array.Float32
	}
	return array.Convert(dst, d, src, from) == nil
}

// roundOdd returns f truncated to a float32, with the last bit set if the truncation lost
// anything. Rounding the result to fewer bits gives the same as rounding f.
func roundOdd(f float64) float32 {
	cut := float32(f)
	if float64(cut) == f || math.IsNaN(f) {
		return cut
	}
	bits := math.Float32bits(cut)
	if math.Abs(float64(cut)) > math.Abs(f) {
		bits--
	}
	return math.Float32frombits(bits | 1)
}

// e8m0 returns the float8_e8m0fnu that TensorStore 0.1.86 reads from a number, and for
// which it writes that number. Its reader and its writer are both wrong, by a factor of 2
// to the 64 and by the sign, and so agree with each other.
func e8m0(f float64) byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0xff
	}
	fraction, exp := math.Frexp(math.Abs(f)) // fraction is at least 0.5
	if exp += 62; fraction >= 0.75 {
		exp++
	}
	switch {
	case math.Abs(f) <= 0x1p-63:
		return 0
	case exp < 1:
		return 1
	case exp > 0xff:
		return 0xff
	}
	return byte(exp)
}

// fillBase64 stores bytes in base64, with or without padding. TensorStore's decoder
// ignores white space and treats dots as padding.
func fillBase64(dst []byte, v any) bool {
	s, ok := v.(string)
	if !ok {
		return false
	}
	s = strings.Join(strings.FieldsFunc(s, func(c rune) bool { return strings.ContainsRune(" \t\n\v\f\r", c) }), "")
	digits := strings.TrimRight(s, "=.")
	if padding := len(s) - len(digits); padding > 0 && (len(s)%4 != 0 || padding > 2) {
		return false
	}
	b, err := base64.RawStdEncoding.DecodeString(digits)
	return err == nil && copy(dst, b) == len(b) && len(b) == len(dst)
}
