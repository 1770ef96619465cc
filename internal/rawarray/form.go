package rawarray

import (
	"fmt"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/view"
	"github.com/go-orbax/orbax/zarr"
)

// Form decodes elements that are stored without an encoding and without a checksum. Any
// run of such elements can be read.
type Form struct{ DType array.DType }

// Decode copies the elements. It checks elements of dtypes that do not allow every bit
// pattern.
func (f Form) Decode(_ *view.Chunk, dst, enc []byte) error {
	copy(dst, enc)
	return zarr.Finish(f.DType, dst)
}

// Direct reads in place, except for bools. A byte that is neither 0 nor 1 must be found
// before it is in an array.
func (f Form) Direct(_ *view.Chunk, dst []byte) (step func([]byte), done func([]byte) error) {
	if f.DType == array.Bool {
		return nil, nil
	}
	return nil, func([]byte) error { return zarr.Finish(f.DType, dst) }
}

// Describe adds to err which elements it concerns.
func (f Form) Describe(p *view.Chunk, err error) error {
	return fmt.Errorf("elements %v at %v: %w", p.Size, p.Offset, err)
}

// PieceBytes is about the number of bytes that are read at a time from raw arrays. It is
// enough for the full rate of a disk.
const PieceBytes = 8 << 20

// Pieces divides the chunk whole into runs of about [PieceBytes], and yields the runs
// that overlap the box. The chunk is raw, row-major and of the given shape. It reports
// whether more are wanted. whole.Size is the part of shape that lies in the array; the
// rest of shape is padding.
func (f Form) Pieces(whole view.Chunk, shape, off, size []int, yield func(*view.Chunk, error) bool) bool {
	// Begin with the last axis: take whole axes as long as a piece has room for them.
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
	axis-- // this axis is divided into steps; the axes before it into single elements
	step := max(1, PieceBytes/run)
	lo, hi := make([]int, axis+1), make([]int, axis+1) // bounds of the box in the chunk
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
