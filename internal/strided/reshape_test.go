package strided

import (
	_ "embed"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
)

//go:embed testdata/reshape.txt
var reshapes string // by testdata/reshape.py

func ints(t *testing.T, text, sep string) []int {
	var list []int
	for s := range strings.SplitSeq(text, sep) {
		if s == "" {
			continue
		}
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, n)
	}
	return list
}

// TestReshapeNumPy compares with what NumPy does: which reshapes are views, and
// of which strides.
func TestReshapeNumPy(t *testing.T) {
	copies := 0
	for line := range strings.Lines(reshapes) {
		f := strings.Split(strings.TrimSpace(line), ";")
		cut := ints(t, f[1], ":")
		v := must(t)(Of(ints(t, f[0], ",")))
		v = must(t)(v.Slice(0, cut[0], cut[1], cut[2]))
		v = must(t)(v.Transpose(ints(t, f[2], ",")...))
		shape := ints(t, f[3], ",")
		got, err := v.Reshape(shape...)
		if f[4] == "copy" {
			copies++
			if !errors.Is(err, fault.ErrShape) {
				t.Errorf("%s: %v, want an error that matches ErrShape", line, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		want := ints(t, f[4], ",")
		for i, d := range shape {
			if d > 1 && got.strides[i] != want[i] {
				t.Errorf("%s: strides %v", line, got.strides)
			}
		}
		if !slices.Equal(got.Shape(), shape) {
			t.Errorf("%s: shape %v", line, got.Shape())
		}
	}
	if copies < 50 {
		t.Errorf("only %d reshapes are copies", copies)
	}
}

func TestReshapeInferred(t *testing.T) {
	v := must(t)(Of([]int{4, 6}))
	for _, tt := range []struct{ shape, want []int }{
		{[]int{-1}, []int{24}},
		{[]int{2, -1, 3}, []int{2, 4, 3}},
		{[]int{24, -1}, []int{24, 1}},
	} {
		asked := slices.Clone(tt.shape)
		if got := must(t)(v.Reshape(asked...)); !slices.Equal(got.Shape(), tt.want) || !slices.Equal(asked, tt.shape) {
			t.Errorf("%v: %v, want %v; the argument is %v", tt.shape, got.Shape(), tt.want, asked)
		}
	}
}
