package array

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"unsafe"

	"github.com/go-orbax/orbax/internal/fault"
)

// Of returns an array over data, without a copy. If no shape is given, the array has one
// dimension. Like [regexp.MustCompile], Of is for shapes that are known to the program:
// it panics if the shape does not hold len(data) elements. [New] returns an error
// instead.
func Of[T Element](data []T, shape ...int) *Array {
	if len(shape) == 0 {
		shape = []int{len(data)}
	}
	a, err := New(DTypeOf[T](), shape, bytesOf(data))
	if err != nil {
		panic(fmt.Sprintf("array.Of: %d elements in shape %v: %v", len(data), shape, err))
	}
	return a
}

// Scalar returns an array of rank 0 that holds v.
func Scalar[T Element](v T) *Array {
	return &Array{dtype: DTypeOf[T](), shape: []int{}, data: bytesOf([]T{v})}
}

// ScalarOf returns an array of rank 0 that holds v, a bool or a number of one of the
// language's own types. It returns nil for any other v. It is the inverse of
// [Array.Item], for values whose type is known only at run time.
func ScalarOf(v any) *Array {
	t := reflect.TypeOf(v)
	d := ElementDType(t)
	if d == Invalid || t.PkgPath() != "" {
		return nil
	}
	// Set moves the bits. The conversions of package reflect would change those of a
	// signaling NaN.
	p := reflect.New(t)
	p.Elem().Set(reflect.ValueOf(v))
	return &Array{dtype: d, shape: []int{}, data: unsafe.Slice((*byte)(p.UnsafePointer()), t.Size())}
}

// Item returns the element of an array of rank 0 as a Go value: a bool, int8 …
// int64, uint8 … uint64, float32, float64, complex64 or complex128. ok is false
// for every other rank, and for the element types that the language lacks.
func (a *Array) Item() (v any, ok bool) {
	if len(a.shape) > 0 {
		return nil, false
	}
	if a.dtype == Bool {
		return a.data[0] != 0, true
	}
	t := dtypes[a.dtype].element
	if t == nil || t.PkgPath() != "" {
		return nil, false
	}
	p := reflect.New(t)
	copy(unsafe.Slice((*byte)(p.UnsafePointer()), t.Size()), a.data)
	return p.Elem().Interface(), true
}

// bytesOf views data's memory. It is never nil.
func bytesOf[T Element](data []T) []byte {
	if len(data) == 0 {
		return []byte{}
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(data))), len(data)*int(unsafe.Sizeof(data[0])))
}

// Values returns the elements of a in row-major order, as a view of its memory: a write
// to one changes the other.
//
// The error matches orbax.ErrDType if T is not the type of the elements; [Array.Cast]
// converts them. It matches orbax.ErrUnsupported if the memory that New took from the
// caller is not aligned for T; [Array.Clone] returns an aligned copy. It matches
// orbax.ErrCorrupt if a byte of a bool array is neither 0 nor 1; [Canonicalize] corrects
// that.
func Values[T Element](a *Array) ([]T, error) {
	d := DTypeOf[T]()
	if d != a.dtype {
		return nil, fmt.Errorf("%w: elements are %v, asked for %v (%T)", fault.ErrDType, a.dtype, d, *new(T))
	}
	if d == Bool && !canonicalBools(a.data) {
		return nil, fmt.Errorf("%w: a byte of a bool array is neither 0 nor 1", fault.ErrCorrupt)
	}
	values, ok := view[T](a.data)
	if !ok {
		return nil, fmt.Errorf("%w: the array's memory is not aligned for %v; clone it first", fault.ErrUnsupported, d)
	}
	return values, nil
}

// view views data, which holds whole elements, as T. It returns false if data is not
// aligned.
func view[T Element](data []byte) ([]T, bool) {
	if len(data) == 0 {
		return []T{}, true
	}
	p := unsafe.Pointer(unsafe.SliceData(data))
	if uintptr(p)%unsafe.Alignof(*new(T)) != 0 {
		return nil, false
	}
	return unsafe.Slice((*T)(p), uintptr(len(data))/unsafe.Sizeof(*new(T))), true
}

// canonicalBools reports whether all bytes are 0 or 1. The compiler relies on this for
// values of type bool.
func canonicalBools(data []byte) bool {
	const notBool = 0xfefefefefefefefe
	for ; len(data) >= 8; data = data[8:] {
		if binary.LittleEndian.Uint64(data)&notBool != 0 {
			return false
		}
	}
	return !slices.ContainsFunc(data, func(b byte) bool { return b > 1 })
}

// Len returns the number of elements.
func (a *Array) Len() int { return len(a.data) / a.dtype.Size() }

// Clone returns a copy of a, whose memory is aligned for every element type.
func (a *Array) Clone() *Array {
	b := *a
	b.data = alloc(len(a.data))
	copy(b.data, a.data)
	return &b
}

// Equal reports whether a and b have the same dtype, shape and bytes. NaNs with the same
// bits are equal, and 0 is not equal to -0. The layout over devices does not matter.
func (a *Array) Equal(b *Array) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.dtype == b.dtype && a.prngImpl == b.prngImpl && slices.Equal(a.shape, b.shape) && bytes.Equal(a.data, b.data)
}

// prngKeyShapes maps JAX's generators to the shape of their key data.
var prngKeyShapes = map[string][]int{
	"threefry2x32": {2},
	"rbg":          {4},
	"unsafe_rbg":   {4},
}

// KnownPRNG reports whether JAX itself has the generator impl. Keys of other generators
// can be loaded but not saved, because JAX refuses a whole checkpoint if the program has
// not registered one of its generators.
func KnownPRNG(impl string) bool { return prngKeyShapes[impl] != nil }

// PRNGKey returns an array of keys of JAX's random generator impl, such as
// "threefry2x32". It is made from the keys' data, as by jax.random.wrap_key_data.
//
// The data is uint32, and its last dimension is the length of one key: 2 for
// threefry2x32, 4 for rbg and unsafe_rbg, any length for a generator that JAX itself does
// not have. Keys of such a generator can be loaded but not saved. The shape of the result
// is the shape of the data. If the data does not fit, the error matches orbax.ErrDType or
// orbax.ErrShape. An empty impl is an error that matches orbax.ErrUsage.
func PRNGKey(impl string, keyData *Array) (*Array, error) {
	if err := checkKeyData(impl, keyData.dtype, keyData.shape); err != nil {
		return nil, err
	}
	b := *keyData
	b.prngImpl = impl
	return &b, nil
}

// checkKeyData checks that an array of dtype d and the given shape can hold keys of impl.
func checkKeyData(impl string, d DType, shape []int) error {
	if impl == "" {
		return fmt.Errorf("%w: PRNG keys without the name of a generator", fault.ErrUsage)
	}
	if d != Uint32 {
		return fmt.Errorf("%w: PRNG key data is %v, want uint32", fault.ErrDType, d)
	}
	want, known := prngKeyShapes[impl]
	if n := len(shape); known && (n < len(want) || !slices.Equal(shape[n-len(want):], want)) {
		return fmt.Errorf("%w: key data of %s must end in dimensions %v, have shape %v", fault.ErrShape, impl, want, shape)
	}
	return nil
}
