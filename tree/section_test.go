package tree

import (
	"bytes"
	"errors"
	"testing"

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
