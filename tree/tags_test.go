package tree

import (
	"errors"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
)

// A tag on a field that has no part in the tree is a mistake that would lose
// data.
func TestTagsThatWouldBeIgnored(t *testing.T) {
	for name, v := range map[string]any{
		"unexported field": struct {
			W int
			s int `orbax:"s"`
		}{1, 2},
		"blank field without the comma": struct {
			_ struct{} `orbax:"seq"`
			A int
		}{},
		"unexported field of a sequence": struct {
			_ struct{} `orbax:",seq"`
			A int
			b int `orbax:"b"`
		}{},
	} {
		if leaves, err := Flatten(v); !errors.Is(err, fault.ErrLeafType) {
			t.Errorf("%s: %v, %v", name, leaves, err)
		}
	}
	leaves, err := Flatten(struct {
		W int
		s int `orbax:"-"`
		t int
	}{1, 2, 3})
	if err != nil || len(leaves) != 1 {
		t.Errorf("fields that are left out: %v, %v", leaves, err)
	}
}
