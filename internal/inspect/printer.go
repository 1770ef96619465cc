package inspect

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-orbax/orbax/array"
)

const (
	// Arrays of up to previewElements elements are printed in full. Of larger arrays,
	// previewEdge elements at both ends of each axis are printed. The numbers are those
	// of NumPy.
	previewElements = 1000
	previewEdge     = 3
	// maxPreview bounds the previews of arrays with very many axes.
	maxPreview = 100_000
	// lineWidth is the column at which rows are broken, less one for each axis, as in
	// NumPy.
	lineWidth = 75
)

// elements returns the texts of an array's elements, which it reads in batches.
type elements struct {
	ctx   context.Context
	dtype array.DType
	r     io.ReaderAt
	n     int64 // size of r in bytes
	batch int64 // number of elements that are read at a time
	have  *array.Array
	first int64 // number of the first element in have
	err   error // error of the first read that failed
}

func newElements(ctx context.Context, d array.DType, r io.ReaderAt, n int64) *elements {
	return &elements{ctx: ctx, dtype: d, r: r, n: n, batch: 4096}
}

// text returns element i. After an error, which it keeps, it returns "".
func (e *elements) text(i int64) string {
	if e.err != nil {
		return ""
	}
	if e.have == nil || i < e.first || i >= e.first+int64(e.have.Len()) {
		if e.err = e.read(i); e.err != nil {
			return ""
		}
	}
	return e.have.FormatElement(int(i - e.first))
}

// value returns element i as a number. text has read the element before.
func (e *elements) value(i int64) float64 {
	var b [8]byte
	if e.err != nil || array.Convert(b[:], array.Float64, e.have.Bytes()[int(i-e.first)*e.dtype.Size():][:e.dtype.Size()], e.dtype) != nil {
		return 0
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(b[:]))
}

func (e *elements) read(i int64) error {
	if err := e.ctx.Err(); err != nil {
		return err
	}
	item := int64(e.dtype.Size())
	n := min(e.batch, e.n/item-i)
	buf := make([]byte, n*item)
	if _, err := e.r.ReadAt(buf, i*item); err != nil && err != io.EOF {
		return err
	}
	var err error
	e.first = i
	e.have, err = array.New(e.dtype, []int{int(n)}, buf)
	return err
}

// printer writes an array as nested lists. Unless edge is 0, it shows only edge elements
// at both ends of each axis.
type printer struct {
	w        *bufio.Writer
	shape    []int
	edge     int
	elements *elements

	width int // of integers
	form  *numpyForm
}

// shownAt calls f for the positions of an axis that are shown, and gap where positions
// are left out.
func (p *printer) shownAt(axis int, f func(i int), gap func()) {
	n := p.shape[axis]
	for i := 0; i < n && !p.failed(); i++ {
		if p.edge > 0 && i == p.edge && n > 2*p.edge {
			gap()
			i = n - p.edge
		}
		f(i)
	}
}

func (p *printer) failed() bool { return p.elements != nil && p.elements.err != nil }

// count returns the number of elements that are shown, or a number above maxPreview.
func (p *printer) count() int {
	n := 1
	for _, d := range p.shape {
		if n *= min(d, 2*p.edge); n > maxPreview {
			break
		}
	}
	return n
}

// visit calls f for every element that is shown, in order.
func (p *printer) visit(f func(i int64)) {
	var walk func(axis int, base int64)
	walk = func(axis int, base int64) {
		if axis == len(p.shape) {
			f(base)
			return
		}
		p.shownAt(axis, func(i int) { walk(axis+1, base*int64(p.shape[axis])+int64(i)) }, func() {})
	}
	if !p.empty() {
		walk(0, 0)
	}
}

func (p *printer) empty() bool { return slices.Contains(p.shape, 0) }

// print writes the array as NumPy does: one row a line, in columns.
func (p *printer) print() error {
	if p.form = newNumpyForm(p.elements.dtype); p.form != nil && len(p.shape) > 0 {
		p.visit(func(i int64) { p.form.survey(p.elements.text(i)) })
		p.visit(func(i int64) { p.form.measure(p.elements.text(i)) })
	} else {
		p.visit(func(i int64) { p.width = max(p.width, len(p.elements.text(i))) })
	}
	switch {
	case p.failed():
	case p.empty():
		p.w.WriteString("[]")
	case len(p.shape) == 0:
		text := p.elements.text(0)
		if number, ok := strings.CutSuffix(text, "i)"); ok {
			text = number + "j)"
		}
		p.w.WriteString(text)
	default:
		p.block(0, 0)
	}
	return p.elements.err
}

// column returns the text of an element, padded to the common width.
func (p *printer) column(i int64) string {
	text := p.elements.text(i)
	switch d := p.elements.dtype; {
	case p.form != nil:
		return p.form.text(text)
	case d == array.Bool:
		return boolText(text)
	case !isNumPys(d):
		return mlText(p.elements.value(i))
	}
	return strings.Repeat(" ", max(0, p.width-len(text))) + text
}

func (p *printer) block(axis int, base int64) {
	if axis == len(p.shape)-1 {
		p.row(axis, base)
		return
	}
	next := strings.Repeat("\n", len(p.shape)-1-axis) + strings.Repeat(" ", axis+1)
	sep := ""
	p.w.WriteByte('[')
	p.shownAt(axis, func(i int) {
		p.w.WriteString(sep)
		p.block(axis+1, base*int64(p.shape[axis])+int64(i))
		sep = next
	}, func() {
		p.w.WriteString(sep + "...")
	})
	p.w.WriteByte(']')
}

func (p *printer) row(axis int, base int64) {
	indent := strings.Repeat(" ", axis+1)
	column := axis
	spaces := "" // spaces after an element, which are not written at the end of a line
	add := func(s string) {
		switch {
		case column == axis:
			p.w.WriteByte('[')
			column++
		case column+1+len(s) > lineWidth-len(p.shape) && column > axis+1:
			p.w.WriteString("\n" + indent)
			column = axis + 1
		default:
			p.w.WriteString(spaces + " ")
			column++
		}
		text := strings.TrimRight(s, " ")
		p.w.WriteString(text)
		spaces = s[len(text):]
		column += len(s)
	}
	p.shownAt(axis, func(i int) {
		add(p.column(base*int64(p.shape[axis]) + int64(i)))
	}, func() { add("...") })
	p.w.WriteString(spaces + "]")
}

// printJSON writes the array as a JSON value.
func (p *printer) printJSON() error {
	var walk func(axis int, base int64)
	walk = func(axis int, base int64) {
		if axis == len(p.shape) {
			p.w.WriteString(jsonElement(p.elements.text(base), p.elements.dtype))
			return
		}
		sep := "["
		for i := range p.shape[axis] {
			p.w.WriteString(sep)
			walk(axis+1, base*int64(p.shape[axis])+int64(i))
			sep = ","
			if p.failed() {
				return
			}
		}
		p.w.WriteByte(']')
	}
	if p.empty() {
		p.w.WriteString("[]") // whatever the length of the other axes
	} else {
		walk(0, 0)
	}
	return p.elements.err
}

// jsonElement returns the text of an element as JSON.
func jsonElement(text string, d array.DType) string {
	if d.IsComplex() {
		bits := d.Size() * 8
		c, err := strconv.ParseComplex(text, bits)
		if err != nil {
			return "null"
		}
		return "[" + jsonFloat(real(c), bits/2) + "," + jsonFloat(imag(c), bits/2) + "]"
	}
	switch text {
	case "NaN", "-Infinity", "Infinity":
		return `"` + text + `"`
	case "+Inf", "-Inf":
		return `"` + strings.TrimPrefix(text[:1], "+") + `Infinity"`
	case "-0":
		return minusZero
	}
	return text
}

// minusZero is the float -0 in JSON, where -0 is the integer 0.
const minusZero = "-0.0"

func jsonFloat(f float64, bits int) string {
	if f == 0 && math.Signbit(f) {
		return minusZero
	}
	if s := nonFinite(f); s != "" {
		return `"` + s + `"`
	}
	return strconv.FormatFloat(f, 'g', -1, bits)
}
