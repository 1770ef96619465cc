package tensors

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/rawarray"
	"github.com/go-orbax/orbax/safetensors"
	"github.com/go-orbax/orbax/view"
)

// packedArray is an array whose elements lie in a file without an encoding, several to a
// byte.
type packedArray struct {
	rawarray.Array
	bits int // size of an element
}

// Chunks yields runs of rows that overlap the box. Rows are along the first axis that is
// longer than 1. Each run begins at a whole byte.
func (a *packedArray) Chunks(_ context.Context, off, size []int) iter.Seq2[*view.Chunk, error] {
	return func(yield func(*view.Chunk, error) bool) { a.rows(off, size, yield) }
}

func (a *packedArray) rows(off, size []int, yield func(*view.Chunk, error) bool) {
	if a.Length == 0 {
		return
	}
	axis := 0
	for axis < len(a.Shape)-1 && a.Shape[axis] == 1 {
		axis++
	}
	if axis >= len(a.Shape)-1 && (len(a.Shape) == 0 || a.Shape[axis] == 1) { // one element
		yield(a.part(axis, 0, 1, 1), nil)
		return
	}
	row := 1
	for _, n := range a.Shape[axis+1:] {
		row *= n
	}
	unit := 1 // number of rows that together are whole bytes
	for unit*row*a.bits%8 != 0 {
		unit *= 2
	}
	step := max(1, rawarray.PieceBytes/row/unit) * unit
	for first := off[axis] / step * step; first < off[axis]+size[axis]; first += step {
		if !yield(a.part(axis, first, min(step, a.Shape[axis]-first), row), nil) {
			return
		}
	}
}

// part returns n rows of row elements each, beginning with row first.
func (a *packedArray) part(axis, first, n, row int) *view.Chunk {
	p := &view.Chunk{
		Offset: make([]int, len(a.Shape)), Size: slices.Clone(a.Shape),
		Form: packedForm{a.DType}, Dir: a.Dir, File: a.File,
	}
	if len(a.Shape) > 0 {
		p.Offset[axis], p.Size[axis] = first, n
	}
	start, end := a.bytes(first*row), a.bytes((first+n)*row)
	p.At, p.Length = a.At+start, end-start
	return p
}

// bytes returns the size of n elements, which take whole bytes.
func (a *packedArray) bytes(n int) int64 { return int64(n/8*a.bits + n%8*a.bits/8) }

// packedForm is the form of elements that lie several to a byte.
type packedForm struct{ dtype array.DType }

func (f packedForm) Decode(_ *view.Chunk, dst, enc []byte) error {
	return safetensors.Unpack(f.dtype, dst, enc)
}

func (packedForm) Direct(*view.Chunk, []byte) (func([]byte), func([]byte) error) { return nil, nil }

func (packedForm) Describe(p *view.Chunk, err error) error {
	return fmt.Errorf("elements %v at %v: %w", p.Size, p.Offset, err)
}
