package inspect

import (
	"math"
	"strconv"
	"strings"

	"github.com/go-orbax/orbax/array"
)

// numpyPrecision is the number of digits that NumPy prints after the point.
const numpyPrecision = 8

// numpyForm prints the elements of an array as NumPy does: all in one form, with as many
// digits as the elements need, but at most eight after the point. It must see every
// element twice before: first in survey, then in measure.
type numpyForm struct {
	dtype array.DType
	parts []*floatForm // the number, or its real and imaginary part
}

// newNumpyForm returns the form for a dtype. It returns nil for dtypes that NumPy does
// not have, or does not print like floats.
func newNumpyForm(d array.DType) *numpyForm {
	part := func(digits, bits int) *floatForm {
		return &floatForm{bits: bits, most: math.Pow10(min(numpyPrecision, digits))}
	}
	f := &numpyForm{dtype: d}
	switch d {
	case array.Float16:
		f.parts = []*floatForm{part(3, 16)}
	case array.Float32:
		f.parts = []*floatForm{part(6, 32)}
	case array.Float64:
		f.parts = []*floatForm{part(15, 64)}
	case array.Complex64:
		f.parts = []*floatForm{part(6, 32), part(6, 32)}
	case array.Complex128:
		f.parts = []*floatForm{part(15, 64), part(15, 64)}
	default:
		return nil
	}
	if d.IsComplex() {
		f.parts[1].plus = true
	}
	return f
}

// isNumPys reports whether NumPy itself has a dtype. Package ml_dtypes adds the others.
func isNumPys(d array.DType) bool {
	switch d {
	case array.Bool, array.Int8, array.Int16, array.Int32, array.Int64, array.Uint8, array.Uint16, array.Uint32, array.Uint64,
		array.Float16, array.Float32, array.Float64, array.Complex64, array.Complex128:
		return true
	}
	return false
}

// mlText returns the text of an element of a dtype of ml_dtypes. The elements of an array
// are not aligned, and floats have six digits.
func mlText(v float64) string {
	switch {
	case math.IsNaN(v):
		return "nan"
	case math.IsInf(v, 0):
		return strings.ToLower(strings.TrimPrefix(strconv.FormatFloat(v, 'g', -1, 64), "+"))
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

// boolText returns the text of an element of an array of bools.
func boolText(text string) string {
	if text == "true" {
		return " True"
	}
	return "False"
}

// values returns the numbers in the text of an element.
func (f *numpyForm) values(text string) []float64 {
	if f.dtype.IsComplex() {
		c, err := strconv.ParseComplex(text, f.dtype.Size()*8)
		if err != nil {
			return nil // the text of a read that failed
		}
		return []float64{real(c), imag(c)}
	}
	v, err := strconv.ParseFloat(text, max(32, f.dtype.Size()*8))
	if err != nil {
		return nil
	}
	return []float64{v}
}

func (f *numpyForm) survey(text string) {
	for i, v := range f.values(text) {
		f.parts[i].survey(v)
	}
}

func (f *numpyForm) measure(text string) {
	for i, v := range f.values(text) {
		f.parts[i].measure(v)
	}
}

// text returns the text of an element, padded to the common width.
func (f *numpyForm) text(text string) string {
	var b strings.Builder
	for i, v := range f.values(text) {
		s := f.parts[i].text(v)
		if i == 1 {
			number := strings.TrimRight(s, " ")
			s = number + "j" + s[len(number):]
		}
		b.WriteString(s)
	}
	return b.String()
}

// floatForm is the form in which NumPy prints the floats of an array.
type floatForm struct {
	bits int     // size of the type: there are as many digits as distinguish its values
	most float64 // numbers from here on have exponents
	plus bool    // positive numbers have a sign

	least, largest      float64 // absolute values of the smallest and largest number, without zeros
	left, right, digits int     // widths before and after the point, and of the exponent
	special             int     // width of the widest number that is not finite
}

func (f *floatForm) survey(v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) || v == 0 {
		return
	}
	v = math.Abs(v)
	if f.largest == 0 || v < f.least {
		f.least = v
	}
	f.largest = max(f.largest, v)
}

// scientific reports whether the numbers are printed with exponents.
func (f *floatForm) scientific() bool {
	return f.largest != 0 && (f.largest >= f.most || f.least < f.round(0.0001) || f.round(f.largest/f.least) > 1000)
}

// round returns the value of the type that is closest to v.
func (f *floatForm) round(v float64) float64 {
	switch f.bits {
	case 16:
		return float64(array.ToF16(float32(v)).Float32())
	case 32:
		return float64(float32(v))
	}
	return v
}

func (f *floatForm) measure(v float64) {
	whole, fraction, exponent := f.split(v)
	if fraction == "" { // not finite
		f.special = max(f.special, len(whole))
		return
	}
	f.left, f.right = max(f.left, len(whole)), max(f.right, len(fraction)-1)
	f.digits = max(f.digits, len(exponent)-2)
}

// split divides the text of a number into the part before the point, the part from the
// point on, and the exponent with its e and sign. whole has all of the text if v is not
// finite.
func (f *floatForm) split(v float64) (whole, fraction, exponent string) {
	sign := ""
	if f.plus && (math.IsNaN(v) || !math.Signbit(v)) {
		sign = "+"
	}
	switch {
	case math.IsNaN(v):
		return sign + "nan", "", ""
	case math.IsInf(v, -1):
		return "-inf", "", ""
	case math.IsInf(v, 1):
		return sign + "inf", "", ""
	}
	form := byte('f')
	if f.scientific() {
		form = 'e'
	}
	text := shortest(v, form, f.bits)
	text, exponent, hasExponent := strings.Cut(text, "e")
	if whole, fraction, _ = strings.Cut(text, "."); len(fraction) > numpyPrecision {
		text, exponent, _ = strings.Cut(strconv.FormatFloat(v, form, numpyPrecision, 64), "e")
		whole, fraction, _ = strings.Cut(text, ".")
		fraction = strings.TrimRight(fraction, "0")
	}
	if hasExponent {
		exponent = "e" + exponent
	}
	return sign + whole, "." + fraction, exponent
}

// shortest returns v with the fewest digits that distinguish it from other values of its
// type.
func shortest(v float64, form byte, bits int) string {
	if bits != 16 {
		return strconv.FormatFloat(v, form, -1, bits)
	}
	for precision := range 5 {
		text := strconv.FormatFloat(v, 'e', precision, 64)
		if w, err := strconv.ParseFloat(text, 32); err == nil && float64(array.ToF16(float32(w)).Float32()) == v {
			return strconv.FormatFloat(w, form, -1, 32)
		}
	}
	return strconv.FormatFloat(v, form, -1, 32)
}

func (f *floatForm) text(v float64) string {
	whole, fraction, exponent := f.split(v) // the same digits as in measure
	behind := f.right + 1                   // the point counts too
	if f.scientific() {
		behind += f.digits + 2
	}
	left := max(f.left, f.special-behind)
	if fraction == "" {
		return strings.Repeat(" ", max(0, left+behind-len(whole))) + whole
	}
	before, after := strings.Repeat(" ", max(0, left-len(whole))), max(0, f.right+1-len(fraction))
	if exponent == "" {
		return before + whole + fraction + strings.Repeat(" ", after)
	}
	// All numbers have as many digits as the one that needs the most. The digits are
	// those of their exact values.
	exact, exponent, _ := strings.Cut(strconv.FormatFloat(math.Abs(v), 'e', f.right, 64), "e")
	if f.right == 0 {
		exact += "."
	}
	sign := strings.TrimRight(whole, "0123456789")
	return before + sign + exact + "e" + exponent[:1] + strings.Repeat("0", max(0, f.digits+1-len(exponent))) + exponent[1:]
}
