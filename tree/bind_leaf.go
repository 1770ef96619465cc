package tree

import (
	"fmt"
	"math/big"
	"reflect"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// stored returns dtype and shape of the stored array of leaf i, or the zero value if leaf
// i is not stored as an array.
func (b *binder) stored(i int) array.ShapeDtypeStruct {
	switch s := &b.specs[i]; s.Kind {
	case KindArray, KindScalar, KindBytes:
		return array.ShapeDtypeStruct{Shape: s.Shape, DType: s.DType}
	}
	return array.ShapeDtypeStruct{}
}

// slot makes the slot of leaf i, which takes the array that want describes. into is
// memory to fill in place, or nil. convert turns the leaf's value into the value that is
// kept for the commit; a nil convert keeps the value as it is.
func (b *binder) slot(i int, want array.ShapeDtypeStruct, into *array.Array, convert func(v any) (any, error)) {
	b.slots[i] = Slot{Want: want, Array: into, Set: func(v any) error {
		spec := &b.specs[i]
		var err error
		if a, ok := v.(*array.Array); !ok || into == nil || a != into {
			v, err = normalize(spec, want, v)
		}
		if err == nil && into != nil {
			v, err = filled(into, v)
		}
		if err == nil && convert != nil {
			v, err = convert(v)
		}
		if err != nil {
			return &fault.Leaf{Path: spec.Path.String(), Err: err}
		}
		b.values[i], b.set[i] = v, true
		return nil
	}}
}

// filled gives the array a the elements of v and returns a.
func filled(a *array.Array, v any) (any, error) {
	loaded, err := asArray(v)
	if err != nil {
		return nil, err
	}
	if loaded != a {
		copy(a.Bytes(), loaded.Bytes())
	}
	return a, checkBools(a)
}

// place makes a slot that sets dst to its converted value, a reflect.Value.
func (b *binder) place(dst reflect.Value, i int, want array.ShapeDtypeStruct, convert func(v any) (reflect.Value, error)) {
	b.placeAs(usePlaced, dst, i, want, convert)
}

func (b *binder) placeAs(u use, dst reflect.Value, i int, want array.ShapeDtypeStruct, convert func(v any) (reflect.Value, error)) {
	b.claimVariable(dst, u, i)
	b.slot(i, want, nil, func(v any) (any, error) { return convert(v) })
	b.commit(func() error { dst.Set(b.values[i].(reflect.Value)); return nil })
}

// fill makes a slot that fills a, which is of the given shape, in place.
func (b *binder) fill(i int, a *array.Array, shape []int) {
	b.claimMemory(a, useFilled, i)
	b.slot(i, array.ShapeDtypeStruct{Shape: shape, DType: a.DType()}, a, nil)
}

// leafOf returns the number and the spec of br if br is a leaf of one of the kinds;
// otherwise it reports the mismatch.
func (b *binder) leafOf(dst reflect.Value, br *branch, kinds ...Kind) (int, *Spec) {
	if br.leaf < 0 || !slices.Contains(kinds, b.specs[br.leaf].Kind) {
		b.mismatch(dst, br)
		return 0, nil
	}
	return br.leaf, &b.specs[br.leaf]
}

// fits reports whether an array of the target can take the leaf that spec describes: it
// has the same dtype and shape, or the options let them differ. fits records all
// mismatches.
func (b *binder) fits(spec *Spec, d array.DType, shape []int) bool {
	sameRank := len(spec.Shape) == len(shape)
	dtypeFits := spec.DType == d || b.Cast && spec.DType.Size() > 0
	shapeFits := slices.Equal(spec.Shape, shape) || b.PadOrTruncate && sameRank
	if !dtypeFits {
		b.fail(fmt.Errorf("%w: the checkpoint has %v, the target's elements are %v%s", fault.ErrDType, spec, d, castAdvice))
	}
	if !shapeFits {
		advice := ""
		if sameRank {
			advice = padAdvice
		}
		advice += b.reshapeAdvice(spec, shape...)
		b.fail(fmt.Errorf("%w: the checkpoint has %v, the target has shape %v%s", fault.ErrShape, spec, shape, advice))
	}
	return dtypeFits && shapeFits
}

// hostArray plans a load into an *array.Array.
func (b *binder) hostArray(dst reflect.Value, br *branch) {
	i, spec := b.leafOf(dst, br, KindArray, KindScalar, KindBytes)
	if spec == nil {
		return
	}
	if a := dst.Interface().(*array.Array); a != nil {
		if shape := a.Shape(); b.fits(spec, a.DType(), shape) {
			b.fill(i, a, shape)
		}
		return
	}
	b.place(dst, i, b.stored(i), func(v any) (reflect.Value, error) {
		a, err := asArray(v)
		return reflect.ValueOf(a), err
	})
}

// adapted plans a load into a foreign tensor.
func (b *binder) adapted(a *Adapter, dst reflect.Value, br *branch) {
	if b.isNone(br) && canBeNil(dst.Kind()) {
		b.attach(dst, reflect.Zero(dst.Type()))
		return
	}
	if a.flatten != nil {
		b.adaptedNode(a, dst, br)
		return
	}
	i, spec := b.leafOf(dst, br, KindArray, KindScalar, KindBytes)
	if spec == nil {
		return
	}
	want := b.stored(i)
	if !dst.IsZero() {
		old, err := a.toArray(dst)
		if err != nil {
			b.fail(err)
			return
		}
		if old != nil {
			want.DType, want.Shape = old.DType(), old.Shape()
			b.claimMemory(old, useTensor, i)
		}
	}
	if !b.fits(spec, want.DType, want.Shape) {
		return
	}
	b.placeAs(useTensor, dst, i, want, func(v any) (reflect.Value, error) {
		loaded, err := asArray(v)
		if err != nil {
			return reflect.Value{}, err
		}
		if b.loaded != nil {
			b.loaded[i] = loaded
		}
		return a.fromArray(loaded, dst)
	})
}

// hasOneAxis refuses a leaf that a slice or Go array, with its one axis, cannot hold.
func (b *binder) hasOneAxis(spec *Spec, t reflect.Type) bool {
	if len(spec.Shape) == 1 {
		return true
	}
	advice := "a *array.Array takes any shape"
	if len(spec.Shape) == 0 {
		advice = fmt.Sprintf("a %v or a *array.Array takes it", t.Elem())
	} else if n, err := array.NumElements(spec.Shape); err == nil && (t.Kind() == reflect.Slice || n == t.Len()) {
		advice += b.reshapeAdvice(spec, n)
	}
	b.fail(fmt.Errorf("%w: the checkpoint has %v, and a %v has one axis; %s", fault.ErrShape, spec, t, advice))
	return false
}

// numbers plans a load into a slice or Go array of numbers.
func (b *binder) numbers(d array.DType, dst reflect.Value, br *branch) {
	i, spec := b.leafOf(dst, br, KindArray, KindBytes)
	if spec == nil {
		return
	}
	if !b.hasOneAxis(spec, dst.Type()) {
		return
	}
	if dst.Kind() == reflect.Slice && dst.Len() == 0 {
		if b.fits(spec, d, spec.Shape) {
			b.place(dst, i, array.ShapeDtypeStruct{Shape: spec.Shape, DType: d}, func(v any) (reflect.Value, error) { return sliceOf(v, dst.Type()) })
		}
		return
	}
	shape := []int{dst.Len()}
	if !b.fits(spec, d, shape) {
		return
	}
	a, err := view(d, dst)
	if err != nil {
		b.fail(err)
		return
	}
	b.fill(i, a, shape)
}

// bytes plans a load into a []byte.
func (b *binder) bytes(dst reflect.Value, br *branch) {
	i, spec := b.leafOf(dst, br, KindArray, KindBytes)
	if spec == nil {
		return
	}
	shape := spec.Shape
	switch {
	case !b.hasOneAxis(spec, dst.Type()), !b.fits(spec, array.Uint8, shape):
	case dst.Len() > 0 && dst.Len() == shape[0]:
		a, err := view(array.Uint8, dst)
		if err != nil {
			b.fail(err)
			return
		}
		b.fill(i, a, shape)
	default:
		b.place(dst, i, array.ShapeDtypeStruct{Shape: shape, DType: array.Uint8}, func(v any) (reflect.Value, error) {
			data, ok := v.([]byte)
			if !ok {
				data = v.(*array.Array).Bytes()
			}
			return reflect.ValueOf(data).Convert(dst.Type()), nil
		})
	}
}

// scalar plans a load into a bool, number or string.
func (b *binder) scalar(dst reflect.Value, br *branch) {
	t := dst.Type()
	if t.Kind() == reflect.String {
		if i, spec := b.leafOf(dst, br, KindString); spec != nil {
			b.place(dst, i, b.stored(i), func(v any) (reflect.Value, error) { return reflect.ValueOf(v).Convert(t), nil })
		}
		return
	}
	if t == emptyType && br.leaf >= 0 && b.specs[br.leaf].Kind == KindEmpty {
		b.attach(dst, reflect.ValueOf(b.specs[br.leaf].Empty))
		return
	}
	if elemDType(t) == array.Invalid {
		b.fail(fmt.Errorf("%w: %v", fault.ErrLeafType, t))
		return
	}
	i, spec := b.leafOf(dst, br, KindScalar, KindArray)
	if spec == nil {
		return
	}
	if len(spec.Shape) > 0 {
		b.fail(fmt.Errorf("%w: the checkpoint has %v, the target is one %v%s", fault.ErrShape, spec, t, b.reshapeAdvice(spec)))
		return
	}
	want := b.stored(i)
	if b.Cast && spec.DType.Size() > 0 {
		want.DType = elemDType(t)
	} else if err := scalarFits(spec, t); err != nil {
		b.fail(err)
		return
	}
	b.place(dst, i, want, func(v any) (reflect.Value, error) { return scalarOf(v, t) })
}

// bigInt plans a load into a big.Int.
func (b *binder) bigInt(dst reflect.Value, br *branch) {
	i, spec := b.leafOf(dst, br, KindScalar, KindArray)
	if spec == nil {
		return
	}
	if len(spec.Shape) > 0 || !spec.DType.IsInteger() {
		b.mismatch(dst, br)
		return
	}
	b.claimVariable(dst, usePlaced, i)
	b.slot(i, b.stored(i), nil, func(v any) (any, error) {
		n, err := integerOf(v)
		if err != nil {
			return nil, err
		}
		return n, nil
	})
	b.commit(func() error {
		dst.Addr().Interface().(*big.Int).Set(b.values[i].(*big.Int))
		return nil
	})
}
