package tree_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

// lazy is a Reader that is a struct, a Node as well, and has fields.
type lazy struct {
	Name  string
	shape []int
}

func (*lazy) DType() array.DType                                     { return array.Int8 }
func (l *lazy) Shape() []int                                         { return l.shape }
func (*lazy) ReadRegion(context.Context, []byte, []int, []int) error { return nil }
func (*lazy) TreeFlatten() (any, error)                              { return nil, errors.New("not as a node") }
func (*lazy) TreeUnflatten(any) error                                { return nil }

// lazyMap is a Reader that can be nil without being a pointer.
type lazyMap map[string]int

func (lazyMap) DType() array.DType                                     { return array.Int8 }
func (lazyMap) Shape() []int                                           { return []int{2} }
func (lazyMap) ReadRegion(context.Context, []byte, []int, []int) error { return nil }

type wraps struct{ array.Reader }

func TestFlattenReader(t *testing.T) {
	l := &lazy{shape: []int{3}}
	type embeds struct {
		*array.Array
		B int
	}
	leaves := flatten(t, map[string]any{
		"a": l, "b": (*lazy)(nil), "c": lazyMap{}, "d": lazyMap(nil), "e": array.Reader(l), "f": &l,
		"g": embeds{array.Of([]int8{1}), 2}, "i": wraps{l}, "j": []array.Reader{l, nil},
	})
	var got []string
	for _, leaf := range leaves {
		got = append(got, leaf.Path.String()+"="+leaf.Spec().String())
	}
	const want = "a=an array int8[3] b=None c=an array int8[2] d=None e=an array int8[3] f=an array int8[3] " +
		"g.Array=an array int8[1] g.B=a scalar int64 i.Reader=an array int8[3] j.0=an array int8[3] j.1=None"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
	if leaves[0].Value != array.Reader(l) {
		t.Errorf("leaf is %v", leaves[0].Value)
	}
	if k := (tree.Leaf{Value: (*lazy)(nil)}).Spec().Kind; k != tree.KindInvalid {
		t.Errorf("a nil Reader is of kind %v", k)
	}
	for want, v := range map[string]any{
		"tree_test.lazy by value; use *tree_test.lazy": []any{*l},
		"array.Section without a dtype":                &array.Section{},
		"negative dimension":                           &lazy{shape: []int{-1}},
	} {
		if _, err := tree.Flatten(v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%T: %v, want %s", v, err, want)
		}
	}
}

func TestBindReader(t *testing.T) {
	saved := flatten(t, []int8{1})
	for _, target := range []any{&lazy{}, ptr(&lazy{}), ptr(any(&lazy{})), new(lazyMap)} {
		if err := load(target, saved); !errors.Is(err, fault.ErrLeafType) || !strings.Contains(err.Error(), "which is for saving; use *array.Array") {
			t.Errorf("%T: %v", target, err)
		}
	}
	l := &lazy{}
	if err := load(&l, flatten(t, nil)); err != nil || l != nil {
		t.Errorf("None: %v, %v", l, err)
	}
	slots, _, err := tree.Bind(new(*array.Array), specsOf(saved), tree.BindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := slots[0].Set(&lazy{shape: []int{1}}); !errors.Is(err, fault.ErrCorrupt) {
		t.Errorf("a slot took a Reader: %v", err)
	}
}
