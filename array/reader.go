package array

import "context"

// Reader is an array whose elements are read when they are needed. As a leaf of
// a tree it is saved like an Array, a part at a time, without ever being in
// memory as a whole. *Section is one, and *Array is.
//
// A Reader may have two more methods, with the meaning of the methods of [Array]:
//
//	Sharding() *sharding.Sharding
//	PRNGImpl() string
//
// With a sharding, or as PRNG keys, it is saved as a jax.Array; without these
// methods as an np.ndarray. And it may have
//
//	Snapshot(ctx context.Context) (Reader, error)
//
// which an asynchronous save calls before it returns: the result, of the same
// dtype and shape, reads the elements as they are then, whatever becomes of them.
// The elements of a Reader without it must not change until the save has ended.
type Reader interface {
	// DType returns the type of the elements.
	DType() DType

	// Shape returns the dimensions, outermost first. It does not change, and the
	// caller may keep and change the slice.
	Shape() []int

	// ReadRegion reads the box of the given size at off into dst, which has exactly
	// the bytes of its elements: row-major, little-endian and contiguous. A box that
	// exceeds the array is an error that matches ErrShape. After an error the
	// content of dst is unspecified. Several goroutines may read at the same time.
	ReadRegion(ctx context.Context, dst []byte, off, size []int) error
}

// ReadRegion copies the box of the given size at off to dst, see [Reader].
func (a *Array) ReadRegion(_ context.Context, dst []byte, off, size []int) error {
	return CopyRegion(dst, size, make([]int, len(size)), a.data, a.shape, off, size, a.dtype.Size())
}
