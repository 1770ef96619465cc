package array

import "context"

// Reader is an array whose elements are read when they are needed. A save stores a Reader
// in a tree like an Array, one piece at a time, without ever holding all of it in memory.
// *[Section] and *[Array] are Readers.
//
// A Reader may have two more methods, which mean the same as the methods of [Array]:
//
//	Sharding() *sharding.Sharding
//	PRNGImpl() string
//
// A Reader with a sharding or with the name of a generator is saved as a jax.Array, any
// other as an np.ndarray. A Reader may also have the method
//
//	Snapshot(ctx context.Context) (Reader, error)
//
// which an asynchronous save calls before it returns. The result has the same dtype and
// shape and reads the elements as they were at the call, even if they change later. The
// elements of a Reader without this method must not change until the save has ended.
type Reader interface {
	// DType returns the type of the elements.
	DType() DType

	// Shape returns the dimensions, outermost first. It does not change, and the
	// caller may keep and change the slice.
	Shape() []int

	// ReadRegion reads the box of the given size at off into dst. dst has exactly the
	// length of the elements in the box: row-major, little-endian and contiguous. A box
	// that exceeds the array is an error that matches orbax.ErrShape. After an error the
	// content of dst is unspecified. Several goroutines may read at the same time.
	ReadRegion(ctx context.Context, dst []byte, off, size []int) error
}

// ReadRegion copies the box of the given size at off to dst; see [Reader].
func (a *Array) ReadRegion(_ context.Context, dst []byte, off, size []int) error {
	return CopyRegion(dst, size, make([]int, len(size)), a.data, a.shape, off, size, a.dtype.Size())
}
