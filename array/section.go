package array

import (
	"fmt"
	"io"
	"slices"

	"github.com/go-orbax/orbax/internal/fault"
)

// Section is an array whose elements lie in a file, row-major, little-endian
// and contiguous, and are read when they are needed. As a leaf of a tree it is
// saved like an Array, without ever being in memory as a whole.
type Section struct {
	dtype DType
	shape []int
	r     io.ReaderAt
	off   int64
}

// NewSection returns the array that starts at offset off of r. The reader may
// be used by several goroutines, and must give the same bytes until the save
// that uses the section is complete.
func NewSection(d DType, shape []int, r io.ReaderAt, off int64) (*Section, error) {
	if _, err := byteSize(d, shape); err != nil {
		return nil, err
	}
	if r == nil {
		return nil, fmt.Errorf("%w: a section without a reader", fault.ErrLeafType)
	}
	if off < 0 {
		return nil, fmt.Errorf("%w: negative offset %d", fault.ErrShape, off)
	}
	return &Section{d, slices.Clone(shape), r, off}, nil
}

// DType returns the type of the elements.
func (s *Section) DType() DType { return s.dtype }

// Shape returns the dimensions; the caller may keep and change the slice.
func (s *Section) Shape() []int { return slices.Clone(s.shape) }

// ReadAt reads the array's bytes from offset off on, as io.ReaderAt.
func (s *Section) ReadAt(p []byte, off int64) (int, error) { return s.r.ReadAt(p, s.off+off) }
