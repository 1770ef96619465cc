package view

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/tree"
)

// grid is a stored array of int32 whose elements are its chunks' inline bytes. It
// counts how often a chunk is decoded.
type grid struct {
	data    *array.Array
	chunk   []int
	decoded atomic.Int64
}

func (g *grid) Chunks(_ context.Context, off, size []int) iter.Seq2[*Chunk, error] {
	return func(yield func(*Chunk, error) bool) { g.parts(off, size, yield) }
}

func (g *grid) parts(off, size []int, yield func(*Chunk, error) bool) {
	shape := g.data.Shape()
	index := make([]int, len(shape))
	for {
		p := &Chunk{Offset: make([]int, len(shape)), Size: make([]int, len(shape)), Form: gridForm{g}}
		empty := false
		for i, d := range shape {
			p.Offset[i] = index[i] * g.chunk[i]
			p.Size[i] = min(g.chunk[i], d-p.Offset[i])
			empty = empty || d == 0
		}
		if _, _, ok := intersect(p.Offset, p.Size, off, size); ok && !empty {
			n, _ := array.NumElements(p.Size)
			p.Inline = make([]byte, n*4)
			if err := g.data.ReadRegion(context.Background(), p.Inline, p.Offset, p.Size); err != nil {
				yield(nil, err)
				return
			}
			if !yield(p, nil) {
				return
			}
		}
		i := len(shape) - 1
		for ; i >= 0; i-- {
			if index[i]++; index[i]*g.chunk[i] < shape[i] {
				break
			}
			index[i] = 0
		}
		if i < 0 {
			return
		}
	}
}

type gridForm struct{ *grid }

func (g gridForm) Decode(_ *Chunk, dst, enc []byte) error {
	g.decoded.Add(1)
	copy(dst, enc)
	return nil
}
func (g gridForm) Direct(*Chunk, []byte) (func([]byte), func([]byte) error) { return nil, nil }
func (g gridForm) Describe(p *Chunk, err error) error {
	return fmt.Errorf("part %v: %w", p.Offset, err)
}

// model is an array of numbers, element by element.
type model struct {
	shape []int
	data  []int32
}

// index calls f with every index of shape, in row-major order.
func eachIndex(shape []int, f func(index []int)) {
	n, _ := array.NumElements(shape)
	for e := range n {
		index := make([]int, len(shape))
		for i := len(shape) - 1; i >= 0; i-- {
			index[i] = e % shape[i]
			e /= shape[i]
		}
		f(index)
	}
}

func (m model) at(index []int) int32 {
	n := 0
	for i, d := range m.shape {
		n = n*d + index[i]
	}
	return m.data[n]
}

// gather makes a model of another shape whose element at an index is that of m at
// from(index).
func (m model) gather(shape []int, from func([]int) []int) model {
	out := model{shape: shape}
	eachIndex(shape, func(index []int) { out.data = append(out.data, m.at(from(slices.Clone(index)))) })
	return out
}

func drawGrid(t *rapid.T, shape []int, next *int32) (*Leaf, model) {
	n, _ := array.NumElements(shape)
	m := model{shape: shape}
	bytes := []byte{}
	for range n {
		m.data = append(m.data, *next)
		bytes = binary.LittleEndian.AppendUint32(bytes, uint32(*next))
		*next++
	}
	a, err := array.New(array.Int32, shape, bytes)
	if err != nil {
		t.Fatal(err)
	}
	g := &grid{data: a}
	for _, d := range shape {
		g.chunk = append(g.chunk, rapid.IntRange(1, max(1, d)+1).Draw(t, "chunk"))
	}
	l, err := NewArray(LeafMetadata{Path: tree.Path{{Name: "x"}}, Kind: tree.KindArray, DType: array.Int32, Shape: shape}, g)
	if err != nil {
		t.Fatal(err)
	}
	return l, m
}

func drawShape(t *rapid.T) []int {
	return rapid.SliceOfN(rapid.IntRange(0, 5), 0, 4).Draw(t, "shape")
}

// step applies one random operation to both.
func step(t *rapid.T, l *Leaf, m model, next *int32) (*Leaf, model) {
	rank := len(m.shape)
	axis := 0
	if rank > 0 {
		axis = rapid.IntRange(0, rank-1).Draw(t, "axis")
	}
	var out *Leaf
	var err error
	switch op := rapid.SampledFrom([]string{"slice", "index", "transpose", "reshape", "concat", "stack"}).Draw(t, "op"); {
	case op == "slice" && rank > 0:
		start := rapid.IntRange(0, m.shape[axis]).Draw(t, "start")
		stop := rapid.IntRange(start, m.shape[axis]).Draw(t, "stop")
		by := rapid.IntRange(1, 3).Draw(t, "step")
		out, err = l.Slice(axis, start, stop, by)
		shape := slices.Clone(m.shape)
		shape[axis] = (stop - start + by - 1) / by
		m = m.gather(shape, func(i []int) []int { i[axis] = start + i[axis]*by; return i })
	case op == "index" && rank > 0 && m.shape[axis] > 0:
		at := rapid.IntRange(0, m.shape[axis]-1).Draw(t, "at")
		out, err = l.Index(axis, at)
		m = m.gather(slices.Delete(slices.Clone(m.shape), axis, axis+1), func(i []int) []int { return slices.Insert(i, axis, at) })
	case op == "transpose":
		perm := []int{}
		for i := range rank {
			perm = append(perm, i)
		}
		perm = rapid.Permutation(perm).Draw(t, "perm")
		if rank == 0 {
			perm = nil
		}
		out, err = l.Transpose(perm...)
		shape := make([]int, rank)
		for i, p := range perm {
			shape[i] = m.shape[p]
		}
		m = m.gather(shape, func(i []int) []int {
			from := make([]int, rank)
			for k, p := range perm {
				from[p] = i[k]
			}
			return from
		})
	case op == "reshape":
		shape := slices.Clone(m.shape)
		if rank > 1 && rapid.Bool().Draw(t, "merge") {
			axis = min(axis, rank-2)
			shape = slices.Replace(shape, axis, axis+2, shape[axis]*shape[axis+1])
		} else if rank > 0 && m.shape[axis]%2 == 0 {
			shape = slices.Replace(shape, axis, axis+1, 2, shape[axis]/2)
		}
		if out, err = l.Reshape(shape...); err != nil {
			return l, m // refused, as it may be
		}
		m = model{shape, m.data}
	case op == "concat" && rank > 0:
		shape := slices.Clone(m.shape)
		shape[axis] = rapid.IntRange(0, 3).Draw(t, "more")
		other, om := drawGrid(t, shape, next)
		out, err = Concat(l.meta.Path, axis, l, other)
		first := m.shape[axis]
		whole := slices.Clone(shape)
		whole[axis] += first
		joined := model{shape: whole}
		eachIndex(whole, func(i []int) {
			if i[axis] < first {
				joined.data = append(joined.data, m.at(i))
			} else {
				i[axis] -= first
				joined.data = append(joined.data, om.at(i))
			}
		})
		m = joined
	case op == "stack":
		axis = rapid.IntRange(0, rank).Draw(t, "new axis")
		other, om := drawGrid(t, m.shape, next)
		out, err = Stack(l.meta.Path, axis, l, other)
		joined := model{shape: slices.Insert(slices.Clone(m.shape), axis, 2)}
		eachIndex(joined.shape, func(i []int) {
			from := m
			if i[axis] == 1 {
				from = om
			}
			joined.data = append(joined.data, from.at(slices.Delete(slices.Clone(i), axis, axis+1)))
		})
		m = joined
	default:
		return l, m
	}
	if err != nil {
		t.Fatal(err)
	}
	return out, m
}

// A leaf made by any operations has the elements that NumPy's would have, whole,
// cast, in regions, saved in bits, and written out.
func TestAlgebra(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		next := int32(1)
		l, m := drawGrid(t, drawShape(t), &next)
		for range rapid.IntRange(0, 5).Draw(t, "steps") {
			l, m = step(t, l, m, &next)
			if len(m.data) > 400 {
				break
			}
		}
		if !slices.Equal(l.Shape(), m.shape) {
			t.Fatalf("shape %v, want %v", l.Shape(), m.shape)
		}
		v, err := l.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := array.Values[int32](v.(*array.Array)); err != nil || !slices.Equal(got, m.data) {
			t.Fatalf("%v, %v, want %v", got, err, m.data)
		}
		wide, err := l.Cast(array.Float64)
		if err != nil {
			t.Fatal(err)
		}
		if v, err = wide.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, x := range must(array.Values[float64](v.(*array.Array)))(t) {
			if x != float64(m.data[i]) {
				t.Fatalf("cast: element %d is %v, want %d", i, x, m.data[i])
			}
		}
		lazy, err := New("", []*Leaf{l}).Lazy(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if under, ok := lazy.(map[string]any); ok {
			lazy = under["x"]
		}
		for _, from := range []*Leaf{l, lazy.(*Leaf)} {
			checkRegions(t, from, m)
		}
		file := &sliceWriter{b: make([]byte, 4*len(m.data))}
		err = New("", []*Leaf{l}).CopyTo(t.Context(), file, func(*LeafMetadata) (int64, bool) { return 0, true })
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range m.data {
			if got := int32(binary.LittleEndian.Uint32(file.b[4*i:])); got != x {
				t.Fatalf("CopyTo: element %d is %d, want %d", i, got, x)
			}
		}
	})
}

func must[V any](v V, err error) func(*rapid.T) V {
	return func(t *rapid.T) V {
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

type sliceWriter struct{ b []byte }

func (w *sliceWriter) WriteAt(p []byte, off int64) (int, error) { return copy(w.b[off:], p), nil }

func checkRegions(t *rapid.T, l *Leaf, m model) {
	for range 3 {
		off, size := make([]int, len(m.shape)), make([]int, len(m.shape))
		for i, d := range m.shape {
			off[i] = rapid.IntRange(0, d).Draw(t, "off")
			size[i] = rapid.IntRange(0, d-off[i]).Draw(t, "size")
		}
		want := m.gather(size, func(i []int) []int { return plus(i, off) })
		a, err := l.Region(t.Context(), off, size)
		if err != nil {
			t.Fatal(err)
		}
		if got := must(array.Values[int32](a))(t); !slices.Equal(got, want.data) {
			t.Fatalf("region %v at %v: %v, want %v", size, off, got, want.data)
		}
	}
}
