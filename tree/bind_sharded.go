package tree

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/sharding"
)

// shardedIn returns the *array.Sharded in v, if v has one that is not nil.
func shardedIn(v reflect.Value) (*array.Sharded, bool) {
	if !v.IsValid() || v.Type() != shardedType || v.IsNil() {
		return nil, false
	}
	return v.Interface().(*array.Sharded), true
}

// boxesOf returns the boxes of the shards; it is not nil.
func boxesOf(a *array.Sharded) []sharding.Box {
	boxes := make([]sharding.Box, len(a.Shards()))
	for k, s := range a.Shards() {
		boxes[k] = sharding.Box{Offset: slices.Clone(s.Offset), Size: s.Array.Shape()}
	}
	return boxes
}

// sharded plans a load into the shards of an *array.Sharded.
func (b *binder) sharded(dst reflect.Value, br *branch) {
	i, spec := b.leafOf(dst, br, KindArray, KindScalar, KindBytes)
	if spec == nil {
		return
	}
	a, ok := shardedIn(dst)
	if !ok {
		b.fail(fmt.Errorf("%w: the target is a nil %v, which has no sharding; make one with array.AllocSharded", fault.ErrLeafType, shardedType))
		return
	}
	want := array.Abstract(a)
	if !b.fits(spec, want.DType, want.Shape) {
		return
	}
	for k, s := range a.Shards() {
		b.claimShard(s.Array, useFilled, i, k)
	}
	b.shardSlot(i, want, boxesOf(a), a, nil)
}

// newSharded plans a load of a new *array.Sharded and sets dst, an interface, to it.
func (b *binder) newSharded(dst reflect.Value, want array.ShapeDtypeStruct, boxes []sharding.Box, br *branch) {
	i, spec := b.leafOf(dst, br, KindArray, KindScalar, KindBytes)
	if spec == nil || !b.fits(spec, want.DType, want.Shape) || !b.takes(dst, shardedType) {
		return
	}
	if _, err := array.NewSharded(want.DType, want.Shape, want.Sharding); err != nil {
		b.fail(err)
		return
	}
	want.Shape = slices.Clone(want.Shape)
	b.claimVariable(dst, usePlaced, i)
	b.shardSlot(i, want, append(make([]sharding.Box, 0, len(boxes)), boxes...), nil, nil)
	b.commit(func() error { dst.Set(reflect.ValueOf(b.values[i])); return nil })
}

// shardSlot makes the slot of leaf i, which takes boxes of the array that want describes.
// into is memory to fill in place, or nil. A done that is not nil gets the value.
func (b *binder) shardSlot(i int, want array.ShapeDtypeStruct, boxes []sharding.Box, into *array.Sharded, done func(*array.Sharded)) {
	b.slots[i] = Slot{Want: want, Boxes: boxes, Sharded: into, Set: func(v any) error {
		spec := &b.specs[i]
		a, ok := v.(*array.Sharded)
		if ok && into != nil {
			ok = a == into
		} else if ok {
			ok = a.DType() == want.DType && slices.Equal(a.Shape(), want.Shape) && slices.EqualFunc(boxesOf(a), boxes, sameBox)
		}
		if !ok {
			return &fault.Leaf{Path: spec.Path.String(), Err: fmt.Errorf("%w: %d boxes of %v are wanted, and %v was read", fault.ErrCorrupt, len(boxes), want, v)}
		}
		for _, s := range a.Shards() {
			if err := checkBools(s.Array); err != nil {
				return &fault.Leaf{Path: spec.Path.String(), Err: err}
			}
		}
		if done != nil {
			done(a)
		}
		b.values[i], b.set[i] = a, true
		return nil
	}}
}

func sameBox(x, y sharding.Box) bool {
	return slices.Equal(x.Offset, y.Offset) && slices.Equal(x.Size, y.Size)
}

// loadApart makes the slot of leaf i, which was to fill memory that the slot of another
// leaf fills too, load into memory of its own. loaded returns the elements for the array
// of the target, or for shard k of it, after Set.
func (b *binder) loadApart(i, k int) (loaded func() *array.Array) {
	s := b.slots[i]
	if s.Boxes == nil {
		b.slot(i, s.Want, nil, func(v any) (any, error) { return asArray(v) })
		return func() *array.Array { return b.values[i].(*array.Array) }
	}
	if b.apart[i] == nil { // the slot still fills the target
		if b.apart == nil {
			b.apart = map[int][]bool{}
		}
		apart := make([]bool, len(s.Boxes))
		b.apart[i] = apart
		b.shardSlot(i, s.Want, s.Boxes, nil, func(a *array.Sharded) {
			for k, to := range s.Sharded.Shards() {
				if !apart[k] {
					copy(to.Array.Bytes(), a.Shards()[k].Array.Bytes())
				}
			}
		})
	}
	b.apart[i][k] = true
	return func() *array.Array { return b.values[i].(*array.Sharded).Shards()[k].Array }
}

// equalSharded reports whether v is a global array like a with the same shards.
func equalSharded(a *array.Sharded, v any) bool {
	c, ok := v.(*array.Sharded)
	return ok && a.DType() == c.DType() && slices.Equal(a.Shape(), c.Shape()) &&
		slices.EqualFunc(a.Shards(), c.Shards(), func(x, y array.Shard) bool {
			return slices.Equal(x.Offset, y.Offset) && slices.Equal(x.Array.Shape(), y.Array.Shape()) &&
				bytes.Equal(x.Array.Bytes(), y.Array.Bytes())
		})
}
