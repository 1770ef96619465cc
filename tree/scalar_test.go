package tree_test

import (
	"errors"
	"math"
	"reflect"
	"testing"
	"unsafe"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/tree"
)

// TestBindScalarTypes loads every type of scalar, handed over as a scalar and as
// an array, into targets of all forms.
func TestBindScalarTypes(t *testing.T) {
	for _, v := range []any{true, int8(-1), int16(-2), int32(-3), int64(-4), uint8(1), uint16(2), uint32(3), uint64(4), float32(1.5), 2.5, complex64(1i), 2i,
		array.I2(-1), array.I4(-2), array.BF16(1), array.F16(2), array.F8E3M4(3), array.F8E8M0FNU(4), array.F4E2M1FN(5)} {
		var arr *array.Array
		leaf := flatten(t, v)[0]
		if err := load(&arr, []tree.Leaf{leaf}); err != nil {
			t.Fatalf("%T: %v", v, err)
		}
		for _, given := range []any{leaf.Value, arr} {
			typed, template, saved := reflect.New(reflect.TypeOf(v)), v, any(nil)
			for _, target := range []any{typed.Interface(), &template, &saved} {
				slots, finish, err := tree.Bind(target, []tree.Spec{leaf.Spec()}, tree.BindOptions{})
				if err != nil {
					t.Fatalf("%T: %v", v, err)
				}
				if err := errors.Join(slots[0].Set(given), finish()); err != nil {
					t.Fatalf("%T: %v", v, err)
				}
			}
			if typed.Elem().Interface() != v || template != v || saved != leaf.Value && !arr.Equal(saved.(*array.Array)) {
				t.Errorf("%T %v became %v, %v, %v", v, v, typed.Elem(), template, saved)
			}
		}
	}
	for _, v := range []any{int(-5), uint(5)} {
		var arr *array.Array
		if err := load(&arr, flatten(t, v)); err != nil || arr.DType().Size() != 8 || int8(arr.Bytes()[0]) != int8(reflect.ValueOf(v).Convert(reflect.TypeFor[int8]()).Int()) {
			t.Errorf("%T: %v, %v", v, arr, err)
		}
	}
}

type (
	namedFloat   float32
	namedComplex complex64
)

// A signaling NaN becomes a quiet one when it is converted to a wider type.
func TestSignalingNaN(t *testing.T) {
	f := math.Float32frombits(0x7f800001)
	c := *(*complex64)(unsafe.Pointer(&[2]uint32{0x7f800001, 0xff800002}))
	type state struct {
		F  float32
		C  complex64
		NF namedFloat
		NC namedComplex
	}
	in := state{f, c, *(*namedFloat)(unsafe.Pointer(&f)), *(*namedComplex)(unsafe.Pointer(&c))}
	leaves, err := tree.Flatten(&in)
	if err != nil {
		t.Fatal(err)
	}
	specs := make([]tree.Spec, len(leaves))
	for i, l := range leaves {
		specs[i] = l.Spec()
	}
	var out state
	slots, finish, err := tree.Bind(&out, specs, tree.BindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range slots {
		if err := s.Set(leaves[i].Value); err != nil {
			t.Fatal(err)
		}
	}
	if err := finish(); err != nil {
		t.Fatal(err)
	}
	if got, want := *(*[24]byte)(unsafe.Pointer(&out)), *(*[24]byte)(unsafe.Pointer(&in)); got != want {
		t.Errorf("got  % x\nwant % x", got, want)
	}
}
