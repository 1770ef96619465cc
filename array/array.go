// Package array holds n-dimensional arrays in host memory, with all the element
// types of a checkpoint: NumPy's, and ml_dtypes' small floats and integers,
// which Go has no types for. It views Go slices as arrays and arrays as Go
// slices, converts elements, and copies boxes of one array into another. An array
// that is not in memory is a [Reader], one without elements a [ShapeDtypeStruct].
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

// Array is an n-dimensional array in host memory: row-major, little-endian,
// contiguous. Its dtype and shape do not change; its bytes are shared with
// whoever made it. An Array may be used by several goroutines as long as none
// writes its bytes.
type Array struct {
	dtype    DType
	shape    []int
	data     []byte
	sharding *sharding.Sharding
	prngImpl string
	frozen   bool
}

// maxBytes is above the memory of any host and below what Go refuses, with a
// panic, to allocate.
const maxBytes = min(math.MaxInt/2, 1<<46)

// NumElements returns the number of elements of an array of the given shape,
// or an error if a dimension is negative or the product does not fit.
func NumElements(shape []int) (int, error) {
	return region.NumElements(shape)
}

// New returns an array over data, which is kept, not copied, and must hold
// exactly the elements of shape. With nil data it allocates zeroed memory.
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

// byteSize returns the bytes that an array takes.
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

// Bytes returns the elements' memory, row-major and little-endian. It is the
// array's own memory, not a copy.
func (a *Array) Bytes() []byte { return a.data }

// Sharding returns how the array was, or is to be, laid out over devices, or
// nil for a plain host array.
func (a *Array) Sharding() *sharding.Sharding { return a.sharding }

// WithSharding returns an array that shares a's memory and carries s. An array
// with a sharding is saved as a jax.Array, one without as an np.ndarray.
func (a *Array) WithSharding(s *sharding.Sharding) *Array {
	b := *a
	b.sharding = s
	return &b
}

// Freeze returns an array that shares a's memory. The caller promises that the memory
// does not change any more, through whatever array or slice, so that an asynchronous save
// need not copy it.
func (a *Array) Freeze() *Array {
	b := *a
	b.frozen = true
	return &b
}

// Frozen reports whether [Array.Freeze] made the array.
func (a *Array) Frozen() bool { return a.frozen }

// PRNGImpl returns the name of the random generator whose key data the array
// holds, such as "threefry2x32", or "" for an ordinary array.
func (a *Array) PRNGImpl() string { return a.prngImpl }
