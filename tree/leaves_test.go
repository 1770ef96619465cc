package tree

import (
	"bytes"
	"errors"
	"math"
	"testing"
	"unsafe"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

func TestFlattenSection(t *testing.T) {
	s, err := array.NewSection(array.Int16, []int{2, 3}, bytes.NewReader(make([]byte, 12)), 0)
	if err != nil {
		t.Fatal(err)
	}
	leaves, err := Flatten(map[string]any{"w": s, "none": (*array.Section)(nil)})
	if err != nil {
		t.Fatal(err)
	}
	if leaves[0].Value != None || leaves[1].Value != s {
		t.Errorf("leaves are %v", leaves)
	}
	if got := leaves[1].Spec().String(); got != "an array int16[2 3]" {
		t.Errorf("spec is %s", got)
	}
	if _, err := Flatten(&array.Section{}); !errors.Is(err, fault.ErrLeafType) {
		t.Errorf("zero section: %v", err)
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
	leaves, err := Flatten(&in)
	if err != nil {
		t.Fatal(err)
	}
	specs := make([]Spec, len(leaves))
	for i, l := range leaves {
		specs[i] = l.Spec()
	}
	var out state
	slots, finish, err := Bind(&out, specs)
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
