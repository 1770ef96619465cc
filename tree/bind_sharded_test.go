package tree_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
)

// inTwo is a sharding of rank 1 over two devices, the first of which process 0 has.
var inTwo = sharding.Named(sharding.Mesh{AxisNames: []string{"x"}, Shape: []int{2}}, sharding.PartitionSpec{{"x"}})

// shardedOf returns a global array of n int8 over inTwo with the given first shard, and,
// unless it is nil, the second.
func shardedOf(t *testing.T, n int, shards ...[]int8) *array.Sharded {
	t.Helper()
	var all []array.Shard
	for k, s := range shards {
		all = append(all, array.Shard{Offset: []int{k * ((n + 1) / 2)}, Array: array.Of(s)})
	}
	a, err := array.NewSharded(array.Int8, []int{n}, inTwo, all...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// fillShards sets the slots of leaves that are arrays of int8, in memory of its own
// unless there is some to fill.
func fillShards(t *testing.T, slots []tree.Slot, saved []tree.Leaf) error {
	t.Helper()
	for i, s := range slots {
		if s.Boxes == nil {
			if err := fill(slots[i:i+1], saved[i:i+1]); err != nil {
				return err
			}
			continue
		}
		a := s.Sharded
		if a == nil {
			var shards []array.Shard
			for _, b := range s.Boxes {
				part, err := array.New(s.Want.DType, b.Size, nil)
				if err != nil {
					t.Fatal(err)
				}
				shards = append(shards, array.Shard{Offset: b.Offset, Array: part})
			}
			var err error
			if a, err = array.NewSharded(s.Want.DType, s.Want.Shape, s.Want.Sharding, shards...); err != nil {
				t.Fatal(err)
			}
		}
		for _, sh := range a.Shards() {
			if err := saved[i].Value.(*array.Array).ReadRegion(t.Context(), sh.Array.Bytes(), sh.Offset, sh.Array.Shape()); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Set(a); err != nil {
			return err
		}
	}
	return nil
}

func loadShards(t *testing.T, target, saved any) error {
	t.Helper()
	leaves := flatten(t, saved)
	slots, finish, err := tree.Bind(target, specsOf(leaves), tree.BindOptions{})
	if err == nil {
		err = fillShards(t, slots, leaves)
	}
	if err == nil {
		err = finish()
	}
	return err
}

func TestBindSharded(t *testing.T) {
	memory := []int8{9, 9}
	a := shardedOf(t, 3, memory)
	saved := []int8{1, 2, 3}
	for name, c := range map[string]struct{ target, saved any }{
		"root":    {a, saved},
		"pointer": {&a, saved},
		"any":     {ptr(any(a)), saved},
		"map":     {map[string]any{"a": a}, map[string]any{"a": saved}},
		"struct":  {&struct{ A *array.Sharded }{a}, map[string]any{"A": saved}},
	} {
		copy(memory, []int8{9, 9})
		if err := loadShards(t, c.target, c.saved); err != nil || !slices.Equal(memory, []int8{1, 2}) {
			t.Errorf("%s: %v, %v", name, memory, err)
		}
	}
	held := any(a)
	if err := loadShards(t, &held, saved); err != nil || held != any(a) {
		t.Errorf("the target has %v instead of the array that it had: %v", held, err)
	}
	if err := loadShards(t, &a, nil); err != nil || a != nil {
		t.Errorf("None: %v, %v", a, err)
	}
}

func TestBindShardedRefusals(t *testing.T) {
	memory := []int8{1, 2, 3, 4}
	for want, c := range map[string]struct {
		target, saved any
		is            error
	}{
		"leaf A: unsupported leaf type: the target is a nil *array.Sharded, which has no sharding; make one with array.AllocSharded": {
			new(struct{ A *array.Sharded }), map[string]any{"A": []int8{1}}, fault.ErrLeafType},
		"the checkpoint has an array int8[2], the target has shape [3]; orbax.PadOrTruncate() accepts that": {
			shardedOf(t, 3, []int8{0, 0}), []int8{1, 2}, fault.ErrShape},
		"the checkpoint has an array float32[3], the target's elements are int8; orbax.Cast() converts it": {
			shardedOf(t, 3, []int8{0, 0}), []float32{1, 2, 3}, fault.ErrDType},
		"the checkpoint has a string, the target is an array int8[3]": {
			shardedOf(t, 3, []int8{0, 0}), "x", fault.ErrStructure},
		"overlaps that of another shard of this array": {
			shardedOf(t, 4, memory[:2], memory[1:3]), []int8{1, 2, 3, 4}, fault.ErrStructure},
		"overlaps that of the one at [\"a\"]": {
			map[string]any{"a": shardedOf(t, 4, memory[:2]), "b": shardedOf(t, 4, memory[1:3])},
			map[string]any{"a": memory, "b": memory}, fault.ErrStructure},
		"the target shares the memory of this place and the one at [\"a\"], and the checkpoint has different values": {
			map[string]any{"a": shardedOf(t, 4, memory[:2], memory[2:]), "b": shardedOf(t, 4, []int8{0, 0}, memory[2:])},
			map[string]any{"a": []int8{1, 2, 3, 4}, "b": []int8{1, 2, 3, 5}}, fault.ErrStructure},
	} {
		if err := loadShards(t, c.target, c.saved); !errors.Is(err, c.is) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

// Shards that share memory with other places of the target are compared, and shards of
// the same array that do not are filled.
func TestBindTiedShards(t *testing.T) {
	shared, own := []int8{0, 0}, []int8{0, 0}
	target := map[string]any{
		"a": array.Of(shared), "b": shardedOf(t, 4, own, shared), "c": shardedOf(t, 4, []int8{7, 7}, shared),
	}
	target["d"] = target["b"]
	b := []int8{1, 2, 3, 4}
	if err := loadShards(t, target, map[string]any{"a": []int8{3, 4}, "b": b, "c": []int8{5, 6, 3, 4}, "d": b}); err != nil {
		t.Fatal(err)
	}
	c := target["c"].(*array.Sharded).Shards()[0].Array.Bytes()
	if !slices.Equal(shared, []int8{3, 4}) || !slices.Equal(own, []int8{1, 2}) || !slices.Equal(c, []byte{5, 6}) {
		t.Errorf("got %v, %v and %v", shared, own, c)
	}
	if err := loadShards(t, target, map[string]any{"a": []int8{3, 4}, "b": b, "c": []int8{5, 6, 3, 5}, "d": b}); !errors.Is(err, fault.ErrStructure) {
		t.Errorf("c has other values: %v", err)
	}
}

func TestBindAbstractSharded(t *testing.T) {
	saved := flatten(t, map[string]any{"a": []int8{1, 2, 3}, "b": []int8{1, 2, 3}})
	uneven := array.ShapeDtypeStruct{DType: array.Int8, Shape: []int{3}, Sharding: inTwo}
	load := func(process *sharding.Process, a, b any) (map[string]any, error) {
		slots, build, err := tree.BindAbstract(map[string]any{"a": a, "b": b}, specsOf(saved), tree.BindOptions{Process: process})
		if err != nil {
			return nil, err
		}
		if err := fillShards(t, slots, saved); err != nil {
			return nil, err
		}
		v, err := build()
		if err != nil {
			return nil, err
		}
		return v.(map[string]any), nil
	}
	whole := array.ShapeDtypeStruct{DType: array.Int8, Shape: []int{3}}
	like := shardedOf(t, 3, []int8{0, 0})
	second := &sharding.Process{Rank: 1, Size: 2}
	got, err := load(second, uneven, whole)
	if err != nil {
		t.Fatal(err)
	}
	a := got["a"].(*array.Sharded)
	if len(a.Shards()) != 1 || a.Shards()[0].Offset[0] != 2 || a.Shards()[0].Array.Bytes()[0] != 3 {
		t.Errorf("process 1 got %v", a.Shards())
	}
	if w, ok := got["b"].(*array.Array); !ok || w.Len() != 3 {
		t.Errorf("without a sharding: %v", got["b"])
	}
	if got, err = load(nil, like, whole); err != nil {
		t.Fatal(err)
	}
	if a := got["a"].(*array.Sharded); a == like || len(a.Shards()) != 1 || !slices.Equal(a.Shards()[0].Array.Bytes(), []byte{1, 2}) {
		t.Errorf("like another: %v", a.Shards())
	}
	if slices.Contains(like.Shards()[0].Array.Bytes(), 1) {
		t.Error("the abstract array was changed")
	}
	if _, err := load(nil, uneven, whole); !errors.Is(err, fault.ErrShape) {
		t.Errorf("uneven, by one process: %v", err)
	}
	three := &sharding.Process{Size: 3}
	if _, err := load(three, uneven, whole); !errors.Is(err, fault.ErrStructure) || !strings.Contains(err.Error(), "leaf a: sharding of int8[3]") {
		t.Errorf("two devices for three processes: %v", err)
	}
	raw := uneven
	raw.Sharding = &sharding.Sharding{Raw: `{"sharding_type": "new"}`}
	if _, err := load(second, raw, whole); !errors.Is(err, fault.ErrUnsupported) {
		t.Errorf("raw: %v", err)
	}
	slots, _, err := tree.BindAbstract(map[string]any{"a": uneven, "b": whole}, specsOf(saved), tree.BindOptions{Process: second})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{nil, array.Of([]int8{1, 2, 3}), like} {
		if err := slots[0].Set(v); !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("the slot took %v: %v", v, err)
		}
	}
}
