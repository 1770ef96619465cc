// Package array holds n-dimensional arrays in host memory.
//
// It has all the element types of a checkpoint: those of NumPy, and the small floats and
// integers of ml_dtypes, which Go lacks. It views Go slices as arrays and arrays as Go
// slices, converts elements, and copies boxes of one array into another. A [Reader] is an
// array outside memory, and a [ShapeDtypeStruct] is an array without elements.
//
//	a := array.Of([]float32{1, 2, 3, 4, 5, 6}, 2, 3) // no copy
//	b, err := a.Cast(array.BFloat16)
//	values, err := array.Values[array.BF16](b) // no copy
package array

import (
	"fmt"
	"math"
	"slices"
	"unsafe"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/region"
	"github.com/go-orbax/orbax/sharding"
)

// Array is an n-dimensional array in host memory: row-major, little-endian, contiguous.
// Its dtype and shape never change. It shares its bytes with the slice that it was made
// from, if there is one. Several goroutines may use an Array as long as none of them
// writes its bytes.
type Array struct {
	dtype    DType
	shape    []int
	data     []byte
	sharding *sharding.Sharding
	prngImpl string
	frozen   bool
}

// maxBytes is more than the memory of any host, and less than the size at which an
// allocation in Go panics.
const maxBytes = min(math.MaxInt/2, 1<<46)

// NumElements returns the number of elements of an array of the given shape. It returns
// an error if a dimension is negative or the product overflows.
func NumElements(shape []int) (int, error) {
	return region.NumElements(shape)
}

// New returns an array over data. It keeps data without a copy; data must hold exactly
// the elements of shape. If data is nil, New allocates zeroed memory.
func New(d DType, shape []int, data []byte) (*Array, error) {
	n, err := byteSize(d, shape)
	if err != nil {
		return nil, err
	}
	if data == nil {
		data = alloc(n)
	}
	if len(data) != n {
		return nil, fmt.Errorf("%w: %v of %v takes %d bytes, have %d", fault.ErrShape, shape, d, n, len(data))
	}
	return &Array{dtype: d, shape: slices.Clone(shape), data: data}, nil
}

// byteSize returns the number of bytes of an array.
func byteSize(d DType, shape []int) (int, error) {
	if d == Invalid || d >= numDTypes {
		return 0, fmt.Errorf("%w: %v", fault.ErrDType, d)
	}
	n, err := NumElements(shape)
	if err != nil {
		return 0, err
	}
	if n > maxBytes/d.Size() {
		return 0, fmt.Errorf("%w: %v of %v has too many bytes", fault.ErrShape, shape, d)
	}
	return n * d.Size(), nil
}

// alloc returns n zeroed bytes that are aligned for every element type.
func alloc(n int) []byte {
	if n == 0 {
		return []byte{}
	}
	words := make([]complex128, (n+15)/16)
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), n)
}

// DType returns the type of the elements.
func (a *Array) DType() DType { return a.dtype }

// Shape returns the dimensions, outermost first; it is empty for a scalar.
// The caller may keep and change the slice.
func (a *Array) Shape() []int { return slices.Clone(a.shape) }

// Rank returns the number of dimensions.
func (a *Array) Rank() int { return len(a.shape) }

// Bytes returns the memory of the elements, row-major and little-endian. It is the
// array's own memory and not a copy.
func (a *Array) Bytes() []byte { return a.data }

// Sharding returns the layout of the array over devices, as it was loaded or as it is to
// be saved. It is nil for a plain host array.
func (a *Array) Sharding() *sharding.Sharding { return a.sharding }

// WithSharding returns an array that shares a's memory and carries s. A save stores an
// array with a sharding as a jax.Array, and an array without one as an np.ndarray.
func (a *Array) WithSharding(s *sharding.Sharding) *Array {
	b := *a
	b.sharding = s
	return &b
}

// Freeze returns an array that shares a's memory. With it the caller promises that the
// memory no longer changes, through any array or slice, so that an asynchronous save need
// not copy it.
func (a *Array) Freeze() *Array {
	b := *a
	b.frozen = true
	return &b
}

// Frozen reports whether [Array.Freeze] made the array.
func (a *Array) Frozen() bool { return a.frozen }

// PRNGImpl returns the name of the random generator whose keys the array holds, such as
// "threefry2x32", or "" for an ordinary array.
func (a *Array) PRNGImpl() string { return a.prngImpl }
