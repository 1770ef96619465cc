package tree

import (
	"fmt"
	"math/big"
	"reflect"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// scalarFits returns an error unless a t can hold every value of the checkpoint's dtype
// or, for integers, some values of it.
func scalarFits(spec *Spec, t reflect.Type) error {
	have, want := spec.DType, elemDType(t)
	switch {
	case have == want:
		return nil
	case specialDType(t) != array.Invalid:
	case have.IsInteger() && want.IsInteger():
		return nil
	case have == array.Float32 && want == array.Float64, have == array.Complex64 && want == array.Complex128:
		return nil
	case have == array.Float64 && want == array.Float32, have == array.Complex128 && want == array.Complex64:
		return fmt.Errorf("%w: the checkpoint has %v, the target is %v, which would round it; use %v, or orbax.Cast() to convert it", fault.ErrDType, spec, t, have)
	}
	return fmt.Errorf("%w: the checkpoint has %v, the target is %v%s", fault.ErrDType, spec, t, castAdvice)
}

// scalarOf converts a leaf's value, which scalarFits accepted, to t.
func scalarOf(v any, t reflect.Type) (reflect.Value, error) {
	if a, ok := v.(*array.Array); ok {
		x, err := item(a)
		if err != nil {
			return reflect.Value{}, err
		}
		v = x
	}
	dst := reflect.New(t).Elem()
	if a, ok := v.(*array.Array); ok && a.DType() == specialDType(t) {
		return sliceAtZero(a, t)
	}
	if elemDType(t).IsInteger() {
		n, err := integerOf(v)
		if err != nil {
			return dst, err
		}
		return dst, setInteger(dst, n)
	}
	x := reflect.ValueOf(v)
	if x.Kind() == t.Kind() { // not Convert, see scalarValue
		return reflect.NewAt(t, addressable(x).Addr().UnsafePointer()).Elem(), nil
	}
	return x.Convert(t), nil
}

// sliceAtZero returns the element of an array of rank 0 as a t.
func sliceAtZero(a *array.Array, t reflect.Type) (reflect.Value, error) {
	s, err := sliceOf(a, reflect.SliceOf(t))
	if err != nil {
		return reflect.Value{}, err
	}
	return settable(s.Index(0)), nil
}

// integerOf returns an integer leaf's value.
func integerOf(v any) (*big.Int, error) {
	if a, ok := v.(*array.Array); ok {
		x, err := item(a)
		if err != nil {
			return nil, err
		}
		if small, ok := x.(*array.Array); ok { // int2, int4: sign-extended bytes
			return big.NewInt(int64(int8(small.Bytes()[0]))), nil
		}
		v = x
	}
	switch r := reflect.ValueOf(v); {
	case r.CanInt():
		return big.NewInt(r.Int()), nil
	case r.CanUint():
		return new(big.Int).SetUint64(r.Uint()), nil
	}
	return nil, fmt.Errorf("%w: %T is not an integer", fault.ErrDType, v)
}

func setInteger(dst reflect.Value, n *big.Int) error {
	switch {
	case dst.CanInt() && n.IsInt64() && !dst.OverflowInt(n.Int64()):
		dst.SetInt(n.Int64())
	case dst.CanUint() && n.IsUint64() && !dst.OverflowUint(n.Uint64()):
		dst.SetUint(n.Uint64())
	default:
		return fmt.Errorf("%w: %v does not fit in %v", fault.ErrDType, n, dst.Type())
	}
	return nil
}
