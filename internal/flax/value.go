package flax

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/msgpack"
	"github.com/go-orbax/orbax/internal/region"
	"github.com/go-orbax/orbax/tree"
)

func seqKey(i int64, tuple bool) tree.Key {
	return tree.Key{Name: strconv.FormatInt(i, 10), Seq: true, Tuple: tuple}
}

func validText(s string) bool { return utf8.ValidString(s) }

// scalar returns the Go value of a number or bool.
func scalar(h msgpack.Head) any {
	switch h.Kind {
	case msgpack.Bool:
		return h.Bits != 0
	case msgpack.Float:
		return math.Float64frombits(h.Bits)
	case msgpack.Uint:
		if h.Bits > math.MaxInt64 {
			return h.Bits
		}
	}
	return int64(h.Bits)
}

// The types of extensions, by the numbers of Flax and Orbax.
const (
	extArray   = 1
	extComplex = 2
	extScalar  = 3 // of NumPy
	extTuple   = 4 // of Orbax alone
)

// extension reads the whole content of an extension.
func (w *walker) extension(typ int8) error {
	if typ == extTuple {
		h, err := w.r.Next()
		if err == nil && h.Kind != msgpack.Array {
			err = fmt.Errorf("%w: a tuple is stored as %v", fault.ErrCorrupt, h.Kind)
		}
		if err == nil {
			err = w.list(h.Len, true)
		}
		if err == nil && w.r.Left() > 0 {
			err = fmt.Errorf("%w: %d bytes follow the values of a tuple", fault.ErrCorrupt, w.r.Left())
		}
		return err
	}
	var l Leaf
	switch typ {
	case extArray, extScalar:
		l.Kind = tree.KindArray
		l.Array, l.Err = w.array()
		if typ == extScalar && l.Err == nil && len(l.Array.Shape) == 0 {
			l.Kind = tree.KindScalar
		}
	case extComplex:
		l.Kind = tree.KindScalar
		l.Value, l.Err = w.complex()
	default:
		l.Err = fmt.Errorf("%w: MessagePack extension of type %d", fault.ErrUnsupported, typ)
	}
	if l.Err == nil && w.r.Left() > 0 {
		l.Err = fmt.Errorf("%w: %d bytes follow the value", fault.ErrCorrupt, w.r.Left())
	}
	if l.Err != nil && !isOfData(l.Err) {
		return l.Err
	}
	return w.add(l)
}

// isOfData reports whether an error is about the content of the file, not about reading
// it.
func isOfData(err error) bool {
	for _, class := range []error{fault.ErrCorrupt, fault.ErrUnsupported, fault.ErrDType} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

// maxRank is NumPy's largest number of dimensions.
const maxRank = 64

// maxName exceeds the length of the name of any dtype.
const maxName = 64

// array reads the shape, the dtype and the place of an array.
func (w *walker) array() (*Array, error) {
	if err := w.expect(msgpack.Array, 3); err != nil {
		return nil, err
	}
	shape, err := w.shape()
	if err != nil {
		return nil, err
	}
	h, err := w.r.Next()
	switch {
	case err != nil:
		return nil, err
	case h.Kind != msgpack.String && h.Kind != msgpack.Binary, h.Len > maxName:
		return nil, fmt.Errorf("%w: the dtype of an array is %v of length %d", fault.ErrCorrupt, h.Kind, h.Len)
	}
	name, err := w.r.Text(h.Len)
	if err != nil {
		return nil, err
	}
	h, err = w.r.Next()
	switch {
	case err != nil:
		return nil, err
	case h.Kind != msgpack.String && h.Kind != msgpack.Binary:
		return nil, fmt.Errorf("%w: the elements of an array are %v", fault.ErrCorrupt, h.Kind)
	}
	a := &Array{Shape: shape, Runs: []Run{{At: w.r.Offset(), Length: h.Len}}}
	w.r.Skip(h.Len)
	if a.DType, err = array.ParseDType(name); err != nil {
		return nil, err
	}
	n, err := region.NumBytes(shape, a.DType.Size())
	if err != nil || int64(n) != h.Len {
		return nil, fmt.Errorf("%w: an array of %v and shape %v has %d bytes", fault.ErrCorrupt, a.DType, shape, h.Len)
	}
	return a, nil
}

// shape reads the dimensions of an array.
func (w *walker) shape() ([]int, error) {
	h, err := w.r.Next()
	switch {
	case err != nil:
		return nil, err
	case h.Kind != msgpack.Array, h.Len > maxRank:
		return nil, fmt.Errorf("%w: the shape of an array is %v of length %d", fault.ErrCorrupt, h.Kind, h.Len)
	}
	shape := make([]int, h.Len)
	for i := range shape {
		h, err := w.r.Next()
		switch {
		case err != nil:
			return nil, err
		case h.Kind != msgpack.Uint, h.Bits > math.MaxInt:
			return nil, fmt.Errorf("%w: a dimension of an array is no size", fault.ErrCorrupt)
		}
		shape[i] = int(h.Bits)
	}
	return shape, nil
}

// complex reads a complex number of Python.
func (w *walker) complex() (any, error) {
	if err := w.expect(msgpack.Array, 2); err != nil {
		return nil, err
	}
	var parts [2]float64
	for i := range parts {
		h, err := w.r.Next()
		if err != nil {
			return nil, err
		}
		switch h.Kind {
		case msgpack.Float:
			parts[i] = math.Float64frombits(h.Bits)
		case msgpack.Int:
			parts[i] = float64(int64(h.Bits))
		case msgpack.Uint:
			parts[i] = float64(h.Bits)
		default:
			return nil, fmt.Errorf("%w: a part of a complex number is %v", fault.ErrCorrupt, h.Kind)
		}
	}
	return complex(parts[0], parts[1]), nil
}

// expect reads the head of a value of the given kind and length.
func (w *walker) expect(kind msgpack.Kind, n int64) error {
	h, err := w.r.Next()
	if err == nil && (h.Kind != kind || h.Len != n) {
		err = fmt.Errorf("%w: a value is %v of length %d, not %v of length %d", fault.ErrCorrupt, h.Kind, h.Len, kind, n)
	}
	return err
}
