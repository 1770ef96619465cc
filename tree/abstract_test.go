package tree_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
)

func TestBindAbstract(t *testing.T) {
	section, err := array.NewSection(array.Int8, []int{2}, bytes.NewReader(nil), 0)
	if err != nil {
		t.Fatal(err)
	}
	type state struct {
		W    []float32
		Step int32
		Name myString
		Data []byte
		Opt  *tree.Tuple
		Node node
		None *int
		Rest any
		Lazy *array.Section
		Omit int `orbax:",omitempty"`
	}
	abstract := &state{
		W: make([]float32, 2), Step: 9, Name: "x", Opt: &tree.Tuple{int8(0), tree.Tuple{}},
		Node: node{[]any{array.ShapeDtypeStruct{DType: array.BFloat16}}}, Rest: tree.Placeholder, Lazy: section,
	}
	saved := state{
		W: []float32{1, 2}, Step: 3, Name: "n", Data: []byte("d"), Opt: &tree.Tuple{int8(4), tree.Tuple{}},
		Node: node{[]any{array.BF16(0x3f80)}}, Rest: map[string]any{"z": 1},
	}
	leaves := flatten(t, &saved)
	for i, l := range leaves {
		if l.Path.String() == "Lazy" { // was None
			leaves[i].Value = array.Of([]int8{5, 6})
		}
	}
	got, err := loadAbstract(abstract, leaves, tree.BindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	bf := array.Of([]array.BF16{0x3f80})
	one, err := array.New(array.BFloat16, []int{}, bf.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"W": array.Of([]float32{1, 2}), "Step": int32(3), "Name": "n", "Data": []byte("d"), "Opt": tree.Tuple{int8(4), tree.Tuple{}},
		"Node": []any{one}, "None": nil, "Rest": tree.Placeholder, "Lazy": array.Of([]int8{5, 6}),
	}
	if !same(got, want) {
		t.Errorf("got  %#v\nwant %#v", got, want)
	}
	if abstract.Step != 9 || abstract.W[0] != 0 {
		t.Errorf("abstract became %+v", abstract)
	}
}

func TestBindAbstractSharding(t *testing.T) {
	mesh := sharding.Mesh{Shape: []int{2}, AxisNames: []string{"x"}, DeviceIDs: []int{0, 1}}
	split := sharding.Named(mesh, sharding.PartitionSpec{{"x"}})
	leaves := flatten(t, []any{[]int8{1, 2}, []int8{1, 2}})
	abstract := []any{array.Of([]int8{0, 0}).WithSharding(split), array.ShapeDtypeStruct{Shape: []int{2}, DType: array.Int8}}
	slots, _, err := tree.BindAbstract(abstract, specsOf(leaves), tree.BindOptions{})
	if err != nil || slots[0].Want.Sharding != split || slots[0].Array != nil || slots[1].Want.Sharding != nil {
		t.Fatalf("%+v, %v", slots, err)
	}
	got, err := loadAbstract(abstract, leaves, tree.BindOptions{})
	if err != nil || got.([]any)[0].(*array.Array).Sharding() != split {
		t.Errorf("got %v, %v", got, err)
	}
	odd := array.ShapeDtypeStruct{Shape: []int{1}, DType: array.Int8, Sharding: split}
	if _, err := loadAbstract(odd, flatten(t, []int8{1}), tree.BindOptions{}); !errors.Is(err, fault.ErrShape) {
		t.Errorf("a sharding that does not fit: %v", err)
	}
}

func TestBindAbstractErrors(t *testing.T) {
	for _, tt := range []struct {
		saved, abstract any
		want            string
	}{
		{1, nil, "the checkpoint has a scalar int64, the target is None"},
		{map[string]any{"a": 1}, map[string]any{}, "leaf a: structure mismatch: unexpected key: the checkpoint has a scalar int64, the target nothing; orbax.Partial()"},
		{map[string]any{"a": 1}, map[string]any{"a": 1, "b": nil}, "leaf b: structure mismatch: missing key: the checkpoint has nothing here, the target is None; transform.Default gives it a value"},
		{[]any{1, 2}, []any{}, "the checkpoint has a sequence of 2, the target is []interface {}"},
		{[]any{"x"}, []any{array.ShapeDtypeStruct{DType: array.Int8}}, "leaf 0: structure mismatch: the checkpoint has a string, the target is an array int8[]"},
		{1, func() {}, "unsupported leaf type: func()"},
		{[]any{1}, map[string]any{"a": 1, "a.b": map[string]any{"": 1}, "a.b.": 2}, "key collision"},
		{1, array.ShapeDtypeStruct{}, "the target's elements are invalid"},
	} {
		if _, err := loadAbstract(tt.abstract, flatten(t, tt.saved), tree.BindOptions{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v as %v: %v, want %s", tt.saved, tt.abstract, err, tt.want)
		}
	}
	if _, _, err := tree.BindAbstract(1, nil, tree.BindOptions{}); !errors.Is(err, fault.ErrStructure) {
		t.Errorf("no leaves: %v", err)
	}
	slots, build, err := tree.BindAbstract(1, specsOf(flatten(t, 1)), tree.BindOptions{})
	if err != nil || len(slots) != 1 {
		t.Fatal(err)
	}
	if _, err := build(); !errors.Is(err, fault.ErrIncomplete) {
		t.Errorf("build before Set: %v", err)
	}
}

// An adapter's tensor says which dtype and shape it takes.
func TestAdapterOptions(t *testing.T) {
	type tensor struct{ a *array.Array }
	adapter := tree.NewAdapter(
		func(t *tensor) (*array.Array, error) { return t.a, nil },
		func(a *array.Array, _ *tensor) (*tensor, error) { return &tensor{a}, nil })
	o := tree.BindOptions{Adapters: []tree.Adapter{adapter}, Cast: true, PadOrTruncate: true}
	leaves := flatten(t, []float64{1.5, 2.5})
	target := &tensor{array.Of([]int8{9, 9, 9})}
	want := array.Of([]int8{1, 2, 0})
	abstract, err := loadAbstract(target, leaves, o)
	if err != nil || !same(abstract, want) {
		t.Errorf("got %v, %v", abstract, err)
	}
	if err := loadWith(&target, leaves, o); err != nil || !same(target.a, want) {
		t.Errorf("got %v, %v", target.a, err)
	}
	target = nil
	if err := loadWith(&target, leaves, o); err != nil || !same(target.a, leaves[0].Value) {
		t.Errorf("got %v, %v", target, err)
	}
}

func TestBuildTuples(t *testing.T) {
	k := func(i string, tuple bool) tree.Key { return tree.Key{Name: i, Seq: true, Tuple: tuple} }
	leaves := []tree.Leaf{
		{Path: tree.Path{{Name: "a"}, k("1", true)}, Value: 2},
		{Path: tree.Path{{Name: "a"}, k("0", true), k("0", false)}, Value: 1},
		{Path: tree.Path{{Name: "b"}, k("0", true)}, Value: 3},
		{Path: tree.Path{{Name: "b"}, k("1", false)}, Value: 4},
		{Path: tree.Path{{Name: "c"}, {Name: "x", Tuple: true}}, Value: 5},
	}
	want := map[string]any{"a": tree.Tuple{[]any{1}, 2}, "b": []any{3, 4}, "c": map[string]any{"x": 5}}
	if got, err := tree.Build(leaves); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v, %v", got, err)
	}
	var got any
	if err := load(&got, leaves); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Bind gave %#v, %v", got, err)
	}
	into := map[string]any{"a": []any{[]any{int8(0)}, int8(0)}, "b": tree.Tuple{0, 0}, "c": map[string]int{}}
	if err := load(into, leaves); err != nil || !reflect.DeepEqual(into, map[string]any{
		"a": []any{[]any{int8(1)}, int8(2)}, "b": tree.Tuple{3, 4}, "c": map[string]int{"x": 5}}) {
		t.Errorf("into other sequences: %#v, %v", into, err)
	}
	if leaves[0].Path.Compare(tree.Path{{Name: "a"}, k("1", false)}) != 0 {
		t.Error("the order depends on Tuple")
	}
}
