package view

import (
	"bytes"
	"math"
	"math/cmplx"
	"slices"

	"github.com/go-orbax/orbax/array"
)

// compareRun is the number of elements that are converted at a time for a comparison.
const compareRun = 2048

// comparer compares the elements of two boxes of one shape.
type comparer struct {
	a, b           []byte
	dtypeA, dtypeB array.DType
	options        *DiffOptions

	found findings
}

// findings are differences between elements.
type findings struct {
	count, first   int
	maxAbs, maxRel float64
}

// run compares all elements. Most elements are equal, so it first compares bytes where
// that is enough.
func (c *comparer) run() (findings, error) {
	itemA, itemB := c.dtypeA.Size(), c.dtypeB.Size()
	n := len(c.a) / itemA
	if c.same(c.a, c.b) {
		return c.found, nil
	}
	compare := c.comparison()
	for at := 0; at < n; at += compareRun {
		end := min(n, at+compareRun)
		a, b := c.a[at*itemA:end*itemA], c.b[at*itemB:end*itemB]
		if c.same(a, b) {
			continue
		}
		if err := compare(at, a, b); err != nil {
			return c.found, err
		}
	}
	return c.found, nil
}

func (c *comparer) same(a, b []byte) bool { return c.dtypeA == c.dtypeB && bytes.Equal(a, b) }

// comparison returns a function that compares runs of elements of the two types. It
// converts both to a common type.
func (c *comparer) comparison() func(at int, a, b []byte) error {
	switch {
	case c.dtypeA.IsComplex() || c.dtypeB.IsComplex():
		return converted(c, array.Complex128, array.Complex128, func(at int, x, y []complex128) {
			for i := range x {
				c.element(at+i, x[i] == y[i], cmplx.Abs(x[i]-y[i]), cmplx.Abs(y[i]), nan(x[i]), nan(y[i]))
			}
		})
	case isExact(c.dtypeA) && isExact(c.dtypeB):
		return c.integers()
	}
	return converted(c, array.Float64, array.Float64, func(at int, x, y []float64) {
		for i := range x {
			c.element(at+i, x[i] == y[i], math.Abs(x[i]-y[i]), math.Abs(y[i]), x[i] != x[i], y[i] != y[i])
		}
	})
}

// nan reports whether the real or the imaginary part of the number is NaN.
func nan(z complex128) bool { return real(z) != real(z) || imag(z) != imag(z) }

// isExact reports whether int64 or uint64 can hold every element of type d.
func isExact(d array.DType) bool { return d == array.Bool || d.IsInteger() }

// integers returns a function that compares integers. Elements of uint64 stay as they
// are; all others become int64.
func (c *comparer) integers() func(at int, a, b []byte) error {
	unsignedA, unsignedB := c.dtypeA == array.Uint64, c.dtypeB == array.Uint64
	common := func(unsigned bool) array.DType {
		if unsigned {
			return array.Uint64
		}
		return array.Int64
	}
	return converted(c, common(unsignedA), common(unsignedB), func(at int, x, y []uint64) {
		for i := range x {
			negA, negB := !unsignedA && int64(x[i]) < 0, !unsignedB && int64(y[i]) < 0
			size := float64(y[i])
			if negB {
				size = float64(-y[i])
			}
			distance := float64(max(x[i], y[i]) - min(x[i], y[i]))
			switch {
			case negA && !negB:
				distance = float64(-x[i]) + size
			case negB && !negA:
				distance = float64(x[i]) + size
			}
			c.element(at+i, x[i] == y[i] && negA == negB, distance, size, false, false)
		}
	})
}

// converted returns a comparison that converts elements to wideA and wideB. Both types
// have the Go type T or its size.
func converted[T uint64 | float64 | complex128](c *comparer, wideA, wideB array.DType, f func(at int, x, y []T)) func(at int, a, b []byte) error {
	x, y := make([]T, compareRun), make([]T, compareRun)
	return func(at int, a, b []byte) error {
		n := len(a) / c.dtypeA.Size()
		x, y := x[:n], y[:n]
		if err := array.Convert(array.Of(x).Bytes(), wideA, a, c.dtypeA); err != nil {
			return err
		}
		if err := array.Convert(array.Of(y).Bytes(), wideB, b, c.dtypeB); err != nil {
			return err
		}
		f(at, x, y)
		return nil
	}
}

// element records element i if it differs: distance is |a-b|, size is |b|.
func (c *comparer) element(i int, equal bool, distance, size float64, nanA, nanB bool) {
	o := c.options
	switch {
	case nanA && nanB:
		if o.EqualNaN || c.sameBits(i) {
			return
		}
		distance = 0
	case equal:
		if c.dtypeA != c.dtypeB || o.RTol > 0 || o.ATol > 0 || c.sameBits(i) {
			return
		}
		distance = 0
	case math.IsInf(distance, 0) || math.IsNaN(distance):
		distance = math.Inf(1)
	case distance <= o.ATol+o.RTol*size:
		return
	}
	if c.found.count == 0 {
		c.found.first = i
	}
	c.found.count++
	c.found.maxAbs = max(c.found.maxAbs, distance)
	switch {
	case math.IsInf(distance, 1):
		c.found.maxRel = distance
	case distance > 0 && size > 0:
		c.found.maxRel = max(c.found.maxRel, distance/size)
	}
}

func (c *comparer) sameBits(i int) bool {
	if c.dtypeA != c.dtypeB {
		return false
	}
	item := c.dtypeA.Size()
	a, b := c.a[i*item:], c.b[i*item:]
	for k := range item {
		if a[k] != b[k] {
			return false
		}
	}
	return true
}

// elementAt returns an element in the Go type in which a scalar of its dtype is loaded.
func elementAt(data []byte, d array.DType, i int) (any, error) {
	item := d.Size()
	a, err := array.New(d, nil, slices.Clone(data[i*item:][:item]))
	if err != nil {
		return nil, err
	}
	return scalarValue(a), nil
}
