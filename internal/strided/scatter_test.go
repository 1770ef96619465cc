package strided

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"pgregory.net/rapid"
)

func numbered(n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i*7 + i>>8 + 1)
	}
	return data
}

// drawPartition divides an array into boxes that share no element.
func drawPartition(t *rapid.T, off, size []int, deep int) (boxes [][2][]int) {
	if len(size) == 0 || deep == 0 || rapid.IntRange(0, 4).Draw(t, "leave whole") == 0 {
		return [][2][]int{{off, size}}
	}
	axis := rapid.IntRange(0, len(size)-1).Draw(t, "axis")
	at := rapid.IntRange(0, size[axis]).Draw(t, "at")
	left, right, rightOff := slices.Clone(size), slices.Clone(size), slices.Clone(off)
	left[axis] = at
	right[axis] -= at
	rightOff[axis] += at
	return append(drawPartition(t, off, left, deep-1), drawPartition(t, rightOff, right, deep-1)...)
}

// TestScatterModel scatters the boxes of a partition of the source one by one:
// each must write what it has of the view and nothing else, and the last must
// complete it.
func TestScatterModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, m, _ := drawView(t)
		item := rapid.SampledFrom([]int{1, 2, 3, 4, 8, 16, 20}).Draw(t, "item")
		margin := rapid.SampledFrom([]int{0, 0, 0, 1, 2})
		dstOff, dstShape := make([]int, len(m.shape)), make([]int, len(m.shape))
		for i, d := range m.shape {
			dstOff[i] = margin.Draw(t, "before")
			dstShape[i] = dstOff[i] + d + margin.Draw(t, "after")
		}
		source := numbered(product(v.source) * item)
		got := bytes.Repeat([]byte{0xee}, product(dstShape)*item)
		want := slices.Clone(got)
		for _, box := range drawPartition(t, make([]int, len(v.source)), v.source, 4) {
			off, size := box[0], box[1]
			src := make([]byte, product(size)*item)
			if err := array.CopyRegion(src, size, make([]int, len(size)), source, v.source, off, size, item); err != nil {
				t.Fatal(err)
			}
			inBox := map[int]bool{}
			each(size, func(at []int) { inBox[linear(v.source, add(at, off))] = true })
			k := 0
			each(m.shape, func(at []int) {
				if from := m.index[k] * item; inBox[m.index[k]] {
					copy(want[linear(dstShape, add(at, dstOff))*item:], source[from:from+item])
				}
				k++
			})
			if err := v.Scatter(got, dstShape, dstOff, src, off, size, item); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("box %v at %v of %+v:\ngot  %x\nwant %x", size, off, v, got, want)
			}
		}
	})
}

// TestScatterLarge transposes more than one tile.
func TestScatterLarge(t *testing.T) {
	for _, item := range []int{1, 2, 4, 8, 12, 16, 64} {
		rows, cols := 133, 201
		src := numbered(rows * cols * item)
		got, want := make([]byte, len(src)), make([]byte, len(src))
		for r := range rows {
			for c := range cols {
				copy(want[(c*rows+r)*item:], src[(r*cols+c)*item:][:item])
			}
		}
		v := must(t)(Of([]int{rows, cols}))
		v = must(t)(v.Transpose())
		if err := v.Scatter(got, v.Shape(), []int{0, 0}, src, []int{0, 0}, v.source, item); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("items of %d bytes: wrong", item)
		}
	}
}

func TestScatterErrors(t *testing.T) {
	v := must(t)(Of([]int{4, 6}))
	v = must(t)(v.Box([]int{1, 1}, []int{2, 3}))
	type args struct {
		dst              int
		dstShape, dstOff []int
		src              int
		off, size        []int
		item             int
	}
	good := args{24, []int{3, 4}, []int{1, 1}, 16, []int{0, 0}, []int{2, 4}, 2}
	tests := []struct {
		name   string
		change func(*args)
	}{
		{"item of no bytes", func(a *args) { a.item = 0 }},
		{"item of too many bytes", func(a *args) { a.item = 1 << 62 }},
		{"destination too small", func(a *args) { a.dstOff = []int{2, 1} }},
		{"destination of another rank", func(a *args) { a.dstShape, a.dstOff = []int{12}, []int{0} }},
		{"negative place", func(a *args) { a.dstOff = []int{-1, 0} }},
		{"memory of the destination", func(a *args) { a.dst-- }},
		{"memory of the box", func(a *args) { a.src++ }},
		{"box past the end", func(a *args) { a.off = []int{3, 0} }},
		{"negative box", func(a *args) { a.size = []int{-2, -4} }},
		{"box of another rank", func(a *args) { a.size = []int{8} }},
		{"huge destination", func(a *args) { a.dstShape = []int{1 << 62, 1 << 62} }},
	}
	call := func(a args) ([]byte, error) {
		dst := make([]byte, a.dst)
		return dst, v.Scatter(dst, a.dstShape, a.dstOff, numbered(a.src), a.off, a.size, a.item)
	}
	if _, err := call(good); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		a := good
		tt.change(&a)
		dst, err := call(a)
		if !errors.Is(err, fault.ErrShape) {
			t.Errorf("%s: %v, want an error that matches ErrShape", tt.name, err)
		}
		if !bytes.Equal(dst, make([]byte, len(dst))) {
			t.Errorf("%s: bytes were written", tt.name)
		}
	}
}

// FuzzScatter drives the same properties from raw bytes.
func FuzzScatter(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) {
		v, _, _ := drawView(t)
		off, size := drawBox(t, v.source)
		dst, src := make([]byte, v.Len()), make([]byte, product(size))
		if err := v.Scatter(dst, v.shape, make([]int, len(v.shape)), src, off, size, 1); err != nil {
			t.Fatal(err)
		}
	}))
}
