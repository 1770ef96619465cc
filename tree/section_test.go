package tree_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

func TestFlattenSection(t *testing.T) {
	s, err := array.NewSection(array.Int16, []int{2, 3}, bytes.NewReader(make([]byte, 12)), 0)
	if err != nil {
		t.Fatal(err)
	}
	leaves, err := tree.Flatten(map[string]any{"w": s, "none": (*array.Section)(nil)})
	if err != nil {
		t.Fatal(err)
	}
	if leaves[0].Value != tree.None || leaves[1].Value != s {
		t.Errorf("leaves are %v", leaves)
	}
	if got := leaves[1].Spec().String(); got != "an array int16[2 3]" {
		t.Errorf("spec is %s", got)
	}
	if _, err := tree.Flatten(&array.Section{}); !errors.Is(err, fault.ErrLeafType) {
		t.Errorf("zero section: %v", err)
	}
}

// A Section embedded in a struct is a leaf under its name, as an Array is.
func TestFlattenEmbeddedSection(t *testing.T) {
	s, err := array.NewSection(array.Int8, []int{2}, bytes.NewReader([]byte{1, 2}), 0)
	if err != nil {
		t.Fatal(err)
	}
	leaves := flatten(t, struct{ *array.Section }{s})
	if len(leaves) != 1 || leaves[0].Path.String() != "Section" || leaves[0].Value != s {
		t.Errorf("leaves are %v", leaves)
	}
	if _, err := tree.Flatten([]any{*s}); !errors.Is(err, fault.ErrLeafType) || !strings.Contains(err.Error(), "array.Section by value; use *array.Section") {
		t.Errorf("by value: %v", err)
	}
}

func TestBindSection(t *testing.T) {
	bare, field := flatten(t, []int8{1}), flatten(t, map[string]any{"S": []int8{1}})
	for _, tt := range []struct {
		target any
		saved  []tree.Leaf
	}{
		{new(array.Section), bare},
		{new(*array.Section), bare},
		{ptr(new(array.Section)), bare},
		{new(struct{ S array.Section }), field},
		{new(struct{ S *array.Section }), field},
		{map[string]any{"S": new(array.Section)}, field},
	} {
		err := load(tt.target, tt.saved)
		if !errors.Is(err, fault.ErrLeafType) || !strings.Contains(err.Error(), "the target is an array.Section, which is for saving; use *array.Array") {
			t.Errorf("%T: %v", tt.target, err)
		}
	}
}
