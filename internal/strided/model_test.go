package strided

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model is a view as the list of its elements: their linear indices in the
// source, in the row-major order of the view.
type model struct {
	shape []int
	index []int
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// each calls f with every index of an array of the given shape, in row-major
// order.
func each(shape []int, f func(at []int)) {
	at := make([]int, len(shape))
	for k := range product(shape) {
		for i := len(shape) - 1; i >= 0; i-- {
			at[i] = k % shape[i]
			k /= shape[i]
		}
		f(at)
	}
}

// linear is the row-major linear index of at.
func linear(shape, at []int) int {
	n := 0
	for i, d := range shape {
		n = n*d + at[i]
	}
	return n
}

func modelOf(shape []int) model {
	m := model{shape: shape}
	for k := range product(shape) {
		m.index = append(m.index, k)
	}
	return m
}

// pick returns the model of the given shape whose element at each index is that
// of m at from(index).
func (m model) pick(shape []int, from func(at []int) []int) model {
	out := model{shape: shape}
	each(shape, func(at []int) {
		out.index = append(out.index, m.index[linear(m.shape, from(at))])
	})
	return out
}

// strided reports whether the elements, under another shape, are evenly spaced
// along every axis.
func (m model) strided(shape []int) bool {
	steps, unit := make([]int, len(shape)), 1
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] > 1 {
			steps[i] = m.index[unit] - m.index[0]
		}
		unit *= shape[i]
	}
	ok, k := true, 0
	each(shape, func(at []int) {
		want := m.index[0]
		for i, a := range at {
			want += a * steps[i]
		}
		ok = ok && m.index[k] == want
		k++
	})
	return ok
}

func add(a, b []int) []int {
	sum := slices.Clone(a)
	for i := range b {
		sum[i] += b[i]
	}
	return sum
}

// Draws favour the front of a list, and the low end of a range: what leaves
// something to test comes first, and a range is drawn from its other end where
// that is the top.
func drawShape(t *rapid.T) []int {
	dim := rapid.SampledFrom([]int{4, 6, 3, 2, 5, 8, 4, 6, 3, 2, 5, 8, 4, 6, 3, 2, 5, 8, 1, 0})
	rank := rapid.SampledFrom([]int{3, 2, 4, 3, 2, 4, 3, 2, 1, 0}).Draw(t, "rank")
	return rapid.SliceOfN(dim, rank, rank).Draw(t, "shape")
}

// drawRange draws a range of the indices below n.
func drawRange(t *rapid.T, n int) (start, stop int) {
	stop = n - rapid.IntRange(0, n).Draw(t, "cut off at the end")
	start = rapid.IntRange(0, stop).Draw(t, "cut off at the start")
	return start, stop
}

func drawBox(t *rapid.T, shape []int) (off, size []int) {
	off, size = make([]int, len(shape)), slices.Clone(shape)
	for i, d := range shape {
		if rapid.SampledFrom([]bool{true, true, false}).Draw(t, "whole") {
			continue
		}
		start, stop := drawRange(t, d)
		off[i], size[i] = start, stop-start
	}
	return off, size
}

// drawReshape draws a shape of n elements: divisors of what is left.
func drawReshape(t *rapid.T, n int) []int {
	if n == 0 {
		return rapid.Permutation([]int{0, 3, 1}).Draw(t, "shape")
	}
	var shape []int
	for n > 1 || rapid.SampledFrom([]bool{false, false, false, true}).Draw(t, "another") {
		var divisors []int
		for d := n; d > 0; d-- {
			if n%d == 0 {
				divisors = append(divisors, d)
			}
		}
		d := rapid.SampledFrom(divisors).Draw(t, "dim")
		shape = append(shape, d)
		n /= d
	}
	return shape
}

// drawView applies a random chain of operations to a view and to its model, and
// says whether it has been reshaped.
func drawView(t *rapid.T) (v View, m model, reshaped bool) {
	shape := drawShape(t)
	v, err := Of(shape)
	if err != nil {
		t.Fatal(err)
	}
	m = modelOf(shape)
	for range rapid.IntRange(0, 6).Draw(t, "operations") {
		rank := len(m.shape)
		next := v
		axis := 0
		op := rapid.SampledFrom([]string{"reshape", "transpose", "box", "slice", "reshape", "transpose", "box", "slice", "index"}).Draw(t, "operation")
		if op == "slice" || op == "index" {
			if rank == 0 {
				continue
			}
			axis = rapid.IntRange(0, rank-1).Draw(t, "axis")
		}
		switch op {
		case "box":
			off, size := drawBox(t, m.shape)
			next, err = v.Box(off, size)
			m = m.pick(size, func(at []int) []int { return add(at, off) })
		case "slice":
			start, stop := drawRange(t, m.shape[axis])
			step := rapid.SampledFrom([]int{1, 1, 2, 3, 1 << 62}).Draw(t, "step")
			next, err = v.Slice(axis, start, stop, step)
			shape := slices.Clone(m.shape)
			shape[axis] = 0
			for i := start; i < stop; {
				shape[axis]++
				if step >= stop-i {
					break
				}
				i += step
			}
			m = m.pick(shape, func(at []int) []int {
				at = slices.Clone(at)
				at[axis] = start + at[axis]*step
				return at
			})
		case "index":
			if m.shape[axis] == 0 {
				continue
			}
			i := rapid.IntRange(0, m.shape[axis]-1).Draw(t, "index")
			next, err = v.Index(axis, i)
			m = m.pick(slices.Delete(slices.Clone(m.shape), axis, axis+1), func(at []int) []int {
				return slices.Insert(slices.Clone(at), axis, i)
			})
		case "transpose":
			perm := make([]int, rank)
			for i := range perm {
				perm[i] = i
			}
			perm = rapid.Permutation(perm).Draw(t, "permutation")
			next, err = v.Transpose(perm...)
			shape := make([]int, rank)
			for k, axis := range perm {
				shape[k] = m.shape[axis]
			}
			m = m.pick(shape, func(at []int) []int {
				from := make([]int, rank)
				for k, axis := range perm {
					from[axis] = at[k]
				}
				return from
			})
		case "reshape":
			shape := drawReshape(t, len(m.index))
			next, err = v.Reshape(shape...)
			if possible := len(m.index) == 0 || m.strided(shape); possible != (err == nil) {
				t.Fatalf("reshape of %+v to %v: %v, but possible is %v", v, shape, err, possible)
			}
			if err != nil {
				err = nil
				continue
			}
			m.shape, reshaped = shape, true
		}
		if err != nil {
			t.Fatalf("%s of %+v: %v", op, v, err)
		}
		v = next
		if !slices.Equal(v.Shape(), m.shape) {
			t.Fatalf("%s: shape %v, want %v", op, v.Shape(), m.shape)
		}
	}
	return v, m, reshaped
}

func TestElements(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, m, _ := drawView(t)
		if v.Len() != len(m.index) || len(v.shape) != len(m.shape) {
			t.Fatalf("%d elements in %d axes, want %d in %d", v.Len(), len(v.shape), len(m.index), len(m.shape))
		}
		k := 0
		each(v.shape, func(at []int) {
			got := v.offset
			for i, a := range at {
				got += a * v.strides[i]
			}
			if got != m.index[k] {
				t.Fatalf("element %v of %+v is %d of the source, want %d", at, v, got, m.index[k])
			}
			k++
		})
		whole := modelOf(v.source)
		if want := slices.Equal(m.shape, whole.shape) && slices.Equal(m.index, whole.index); v.Identity() != want {
			t.Fatalf("Identity of %+v is %v", v, v.Identity())
		}
	})
}

func TestBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, m, reshaped := drawView(t)
		off, size := v.Bounds()
		low, high := make([]int, len(v.source)), make([]int, len(v.source)) // high is exclusive
		for n, k := range m.index {
			for i := len(low) - 1; i >= 0; i-- {
				at := k % v.source[i]
				k /= v.source[i]
				if n == 0 {
					low[i], high[i] = at, at+1
				}
				low[i], high[i] = min(low[i], at), max(high[i], at+1)
			}
		}
		for i := range low {
			end := off[i] + size[i]
			if off[i] < 0 || end > v.source[i] || len(m.index) > 0 && (off[i] > low[i] || end < high[i]) {
				t.Fatalf("bounds of %+v: %v at %v, want at least %v to %v", v, size, off, low, high)
			}
			if !reshaped && (off[i] != low[i] || end != high[i]) {
				t.Fatalf("bounds of %+v: %v at %v, want %v to %v", v, size, off, low, high)
			}
		}
	})
}

func TestRunModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, m, reshaped := drawView(t)
		off, size := drawBox(t, v.source)
		var box []int
		each(size, func(at []int) { box = append(box, linear(v.source, add(at, off))) })
		want := 0
		if len(box) > 0 {
			want = slices.Index(m.index, box[0])
		}
		exists := want >= 0 && want+len(box) <= len(m.index) && slices.Equal(m.index[want:want+len(box)], box)

		first, n, ok := v.Run(off, size)
		if ok && (!exists || first != want || n != len(box)) {
			t.Fatalf("box %v at %v of %+v: run of %d at %d, want one of %d at %d", size, off, v, n, first, len(box), want)
		}
		if !ok && exists && !reshaped { // without Reshape there are no coincidences
			t.Fatalf("box %v at %v of %+v: run of %d at %d not found", size, off, v, len(box), want)
		}
	})
}
