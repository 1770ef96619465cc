package tree

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// Placeholder, in the target of a load, marks a value that the load leaves out; see
// [Bind]. Python writes it `...`.
const Placeholder placeholder = "..."

type placeholder string

// BindAbstract plans a load into a new tree that abstract describes. abstract is any
// value that [Flatten] takes. Its leaves say which values the load makes:
//
//   - An [array.ShapeDtypeStruct], a pointer to one, an array, a slice of numbers or a
//     tensor of an adapter: an *array.Array of the same dtype, shape and sharding. If
//     [BindOptions] has a Process and there is a sharding: an *[array.Sharded] with the
//     shards of the process.
//   - An *[array.Sharded]: an *[array.Sharded] with the same boxes.
//   - A number, bool or string: a value of that type. The value in abstract does not
//     matter.
//   - A []byte, nil too: a []byte of any length.
//   - [Placeholder]: nothing. The placeholder stays in the tree, and the checkpoint may
//     lack its key.
//   - Any other nil: None and nothing else. The checkpoint may have None in the place of
//     any leaf or container.
//   - An empty container: an empty container.
//
// The rules of [Bind] for slots, options and errors hold here too. The caller calls Set
// of every slot and then build. The tree that build returns consists of the types that
// [Build] makes, except that a [Tuple] in abstract remains a [Tuple]. It shares no memory
// with abstract.
func BindAbstract(abstract any, specs []Spec, o BindOptions) (slots []Slot, build func() (any, error), err error) {
	f := flattener{types: newTypes(o.Adapters), abstract: true}
	leaves, err := f.flatten(abstract)
	if err != nil {
		return nil, nil, err
	}
	for i, l := range leaves {
		switch v := l.Value.(type) {
		case *array.Sharded: // asks for one with the same boxes
		case array.Reader:
			leaves[i].Value = array.Abstract(v)
		case []byte:
			leaves[i].Value = []byte{}
		}
	}
	root, err := Build(leaves)
	if err != nil {
		return nil, nil, err
	}
	b := newBinder(specs, o)
	b.exact = true
	if err := b.run(&root); err != nil {
		return nil, nil, err
	}
	return b.slots, func() (any, error) {
		if err := b.finish(); err != nil {
			return nil, err
		}
		return root, nil
	}, nil
}

// abstractArray returns v if it is an array.ShapeDtypeStruct or points at one.
func abstractArray(v reflect.Value) (s array.ShapeDtypeStruct, ok bool) {
	if v.Kind() == reflect.Pointer && v.Type().Elem() == abstractType && !v.IsNil() {
		v = v.Elem()
	}
	if !v.IsValid() || v.Type() != abstractType {
		return s, false
	}
	return v.Interface().(array.ShapeDtypeStruct), true
}

// isPlaceholder reports whether v is Placeholder, in an interface or not.
func isPlaceholder(v reflect.Value) bool {
	if v.Kind() == reflect.Interface && !v.IsNil() {
		v = v.Elem()
	}
	return v.Type() == placeholderType
}

// newArray plans a load of a new array and sets dst, an interface, to it.
func (b *binder) newArray(dst reflect.Value, want array.ShapeDtypeStruct, br *branch) {
	if b.Process != nil && want.Sharding != nil {
		boxes, err := b.Process.Boxes(want.Sharding, want.Shape)
		if err != nil {
			b.fail(fmt.Errorf("sharding of %v: %w", want, err))
			return
		}
		b.newSharded(dst, want, boxes, br)
		return
	}
	i, spec := b.leafOf(dst, br, KindArray, KindScalar, KindBytes)
	if spec == nil || !b.fits(spec, want.DType, want.Shape) {
		return
	}
	if err := want.Validate(); err != nil {
		b.fail(err)
		return
	}
	if !b.takes(dst, reflect.PointerTo(arrayType)) {
		return
	}
	want.Shape = slices.Clone(want.Shape)
	b.place(dst, i, want, func(v any) (reflect.Value, error) {
		a, err := asArray(v)
		if err == nil && want.Sharding != nil {
			a = a.WithSharding(want.Sharding)
		}
		return reflect.ValueOf(a), err
	})
}

// takes refuses an interface that cannot hold a t.
func (b *binder) takes(dst reflect.Value, t reflect.Type) bool {
	if !t.AssignableTo(dst.Type()) {
		b.fail(fmt.Errorf("%w: the target is a %v, which cannot hold an %v", fault.ErrLeafType, dst.Type(), t))
		return false
	}
	return true
}

// standIn adds a value that stands for a leaf in the target of a load.
func (f *flattener) standIn(v reflect.Value) {
	if !f.abstract {
		name := "tree.Placeholder"
		if v.Type() == abstractType {
			name = abstractType.String()
		}
		f.fail(fmt.Errorf("%w: %s, which says what to load and has no data to save", fault.ErrLeafType, name))
		return
	}
	f.leaf(v.Interface())
}
