package rawarray

import (
	"fmt"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/view"
	"github.com/go-orbax/orbax/zarr"
)

// Form is the form of elements that are stored as they are, without a
// checksum over them, so that any run of them can be read.
type Form struct{ DType array.DType }

// Decode copies the elements, and checks those of which not every bit pattern is one.
func (f Form) Decode(_ *view.Chunk, dst, enc []byte) error {
	copy(dst, enc)
	return zarr.Finish(f.DType, dst)
}

// Direct reads in place, but for bools: a byte that is neither 0 nor 1 is found
// before it is in an array.
func (f Form) Direct(_ *view.Chunk, dst []byte) (step func([]byte), done func([]byte) error) {
	if f.DType == array.Bool {
		return nil, nil
	}
	return nil, func([]byte) error { return zarr.Finish(f.DType, dst) }
}

// Describe says which elements an error is about.
func (f Form) Describe(p *view.Chunk, err error) error {
	return fmt.Errorf("elements %v at %v: %w", p.Size, p.Offset, err)
}

// PieceBytes is about what is read at a time of elements that can be read by any
// run: enough for the full rate of a disk.
const PieceBytes = 8 << 20

// Pieces divides what is stored raw, row-major and in shape, as whole, into runs
// of about PieceBytes, and yields those that overlap the box. It reports whether more
// are wanted. whole.Size is what lies in the array; behind it there is padding.
func (f Form) Pieces(whole view.Chunk, shape, off, size []int, yield func(*view.Chunk, error) bool) bool {
	// From the last axis: whole ones, as long as a piece has room for them.
	item := f.DType.Size()
	axis, run := len(shape), item
	for axis > 0 && run <= PieceBytes/shape[axis-1] && whole.Size[axis-1] == shape[axis-1] {
		axis--
		run *= shape[axis]
	}
	if axis == 0 {
		p := whole
		p.Form, p.Index, p.Length = f, nil, int64(run)
		return yield(&p, nil)
	}
	axis-- // is divided into steps; those before it into single ones
	step := max(1, PieceBytes/run)
	lo, hi := make([]int, axis+1), make([]int, axis+1) // of the box, in the chunk
	for i := range lo {
		lo[i] = max(0, off[i]-whole.Offset[i])
		hi[i] = min(whole.Size[i], off[i]+size[i]-whole.Offset[i])
	}
	at := slices.Clone(lo)
	for {
		n := min(step, hi[axis]-at[axis])
		linear := 0
		p := whole
		p.Offset, p.Size = slices.Clone(whole.Offset), slices.Clone(whole.Size)
		for i := range at {
			linear = linear*shape[i] + at[i]
			p.Offset[i], p.Size[i] = whole.Offset[i]+at[i], 1
		}
		p.Size[axis] = n
		p.Form, p.Index = f, nil
		p.At, p.Length = whole.At+int64(linear)*int64(run), int64(n)*int64(run)
		if !yield(&p, nil) {
			return false
		}
		i := axis
		for at[i] += n; at[i] >= hi[i]; at[i]++ {
			at[i] = lo[i]
			if i--; i < 0 {
				return true
			}
		}
	}
}
