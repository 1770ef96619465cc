package array

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/region"
)

// Section is an array whose elements lie in a file: row-major, little-endian and
// contiguous. They are read when they are needed; see [Reader].
type Section struct {
	dtype DType
	shape []int
	r     io.ReaderAt
	off   int64
}

// NewSection returns the array that starts at offset off of r. Several goroutines may use
// r at the same time. r must return the same bytes until the save that uses the section
// is complete.
func NewSection(d DType, shape []int, r io.ReaderAt, off int64) (*Section, error) {
	n, err := byteSize(d, shape)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, fmt.Errorf("%w: a section without a reader", fault.ErrLeafType)
	}
	if off < 0 || off > math.MaxInt64-int64(n) {
		return nil, fmt.Errorf("%w: %v of %v cannot be at offset %d", fault.ErrShape, shape, d, off)
	}
	return &Section{d, slices.Clone(shape), r, off}, nil
}

// DType returns the type of the elements.
func (s *Section) DType() DType { return s.dtype }

// Shape returns the dimensions; the caller may keep and change the slice.
func (s *Section) Shape() []int { return slices.Clone(s.shape) }

// ReadAt reads the array's bytes from offset off on. It implements [io.ReaderAt].
func (s *Section) ReadAt(p []byte, off int64) (int, error) { return s.r.ReadAt(p, s.off+off) }

// ReadRegion reads the box of the given size at off into dst; see [Reader]. It reads once
// for each contiguous run of the box. If the file ends before the box does, the error
// matches [io.ErrUnexpectedEOF].
func (s *Section) ReadRegion(ctx context.Context, dst []byte, off, size []int) error {
	item := s.dtype.Size()
	if item == 0 {
		return fmt.Errorf("%w: the zero array.Section", fault.ErrDType)
	}
	if err := region.CheckBox("the section", s.shape, off, size); err != nil {
		return err
	}
	if err := region.CheckMemory("the destination", len(dst), size, item); err != nil {
		return err
	}
	if len(dst) == 0 {
		return nil
	}
	return region.EachRun(s.shape, off, size, item, func(at int64, n int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		got, err := s.r.ReadAt(dst[:n], s.off+at)
		if got < n {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("reading the section %v%v: %d bytes at offset %d: %w", s.dtype, s.shape, n, s.off+at, err)
		}
		dst = dst[n:]
		return nil
	})
}
