package tree

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/sharding"
)

// Slot is the place in the target where one leaf of a checkpoint goes.
type Slot struct {
	// Skip says that the target does not want the leaf, so that it need not be read. All
	// other fields are zero then.
	Skip bool

	// Want describes the array that Set takes, if the leaf is stored as an array. Dtype
	// and shape are those of the Spec unless [BindOptions] lets them differ. In that case
	// the reader converts the elements by the rules of [array.Convert], cuts each axis
	// off at its end, and fills the elements that the checkpoint lacks with zeros.
	// Want.Sharding is the sharding for the array; nil means the stored one.
	Want array.ShapeDtypeStruct

	// Array is memory of the target with the dtype and shape of Want, to be filled in
	// place. If Array is nil, the caller allocates.
	Array *array.Array

	// Boxes, if not nil, are the boxes of the array that are wanted, possibly none. Set
	// then takes an *[array.Sharded] that Want describes, with a shard for each box.
	Boxes []sharding.Box
	// Sharded is memory of the target with the boxes, to be filled in place. If Sharded
	// is nil and Boxes is not, the caller allocates.
	Sharded *array.Sharded

	// Set hands over the value after it has been read. The value is Array or Sharded
	// itself if one of them is not nil; otherwise an array that Want describes, or the
	// string for a string leaf. A scalar may also come in the types that [Leaf] lists, and so may a
	// byte string whose stored form is wanted.
	//
	// Set is nil for leaves that are empty or not wanted. The caller calls every other
	// Set once, and may call different ones at the same time. For a value that does not
	// fit, such as 300 for an int8, Set returns a *orbax.LeafError. In the target, Set
	// changes only Array, Sharded and whatever the fromArray of an adapter changes.
	Set func(v any) error
}

// BindOptions says which differences between a checkpoint and a target a load accepts.
type BindOptions struct {
	// Adapters are the adapters for foreign types in the target.
	Adapters []Adapter

	// Cast converts arrays and numbers to the dtype of the target by the rules of
	// [array.Convert]: float to integer drops the fraction, a value too large for an
	// integer type becomes the largest value of that type, and NaN becomes 0.
	Cast bool

	// PadOrTruncate lets arrays of the same rank differ in shape: each axis is cut off at
	// its end, or continued with zeros. Empty slices of numbers and every []byte still
	// take the stored length.
	PadOrTruncate bool

	// Partial skips the keys that the checkpoint has and that a struct, or a map with
	// elements, of the target lacks. A key that the target has and the checkpoint lacks
	// remains an error, and so does a sequence of another length.
	Partial bool

	// Process, if set, is one of several processes that load together, as with
	// multihost.Together. An [array.ShapeDtypeStruct] with a sharding then asks for the
	// shards of this process, as an *[array.Sharded]. An axis need not split evenly.
	Process *sharding.Process

	// Shared, if set, collects the target memory of all loads that run at the same time.
	// Each load refuses memory that another load writes, and adds its own.
	Shared *Targets
}

// Bind plans how the leaves of a checkpoint, described by specs, are loaded into target.
// target is a non-nil pointer or a non-nil map. The slots are parallel to the specs. The
// caller reads the data, calls Set of every slot and then finish:
//
//	slots, finish, err := tree.Bind(&state, specs, tree.BindOptions{})
//
// Bind keeps the specs until finish has returned.
//
// The structures must match unless the options allow a difference. The error joins all
// mismatches. Each is a *orbax.LeafError that shows both sides, names the option that
// would accept the difference, and wraps orbax.ErrStructure, orbax.ErrDType,
// orbax.ErrShape or orbax.ErrLeafType. If Bind returns an error, it has changed nothing
// in the target.
//
//   - A struct takes a dict that has its fields and no others. A field with omitempty may
//     be missing and is set to zero then. The fields of an embedded nil pointer may be
//     missing together. A sequence struct takes a sequence of as many elements. A struct
//     without fields takes any empty container, and None.
//   - A map with elements takes a dict of the same keys, and the elements are templates.
//     An empty or nil map takes all keys that its type can hold.
//   - A nil or empty slice takes a sequence of any length. Other slices and Go arrays
//     take a sequence of their own length. Lists and tuples count as the same.
//   - A nil `any` takes everything, in the types that [Build] makes. A non-nil interface
//     is a template for a value of the type that it holds. Bind allocates nil pointers.
//   - [Placeholder] in an interface takes everything and loads nothing: it stays, and the
//     load skips the leaves that the checkpoint has there. The checkpoint may lack its
//     key.
//   - [array.ShapeDtypeStruct] in an interface, or a pointer to one, takes the same
//     leaves as an *array.Array of its dtype and shape. A new array with its sharding
//     replaces it.
//   - *array.Array that is not nil takes an array of its dtype and shape, in place; nil
//     takes any array. Both take scalars as arrays of rank 0, and byte strings.
//   - *[array.Sharded] takes the same leaves, in place. Only the boxes of its shards are
//     loaded. A nil one is refused, because it has no sharding.
//   - A slice of numbers takes a rank-1 array of its dtype and length, in place; a nil or
//     empty slice takes any length. A Go array takes its own length. []byte takes byte
//     strings and uint8 arrays of any length, and is filled in place if the lengths are
//     equal.
//   - Integer types and *big.Int take integers of any width; Set checks the value. Other
//     numbers only widen: float32 to float64, complex64 to complex128. A scalar also
//     takes an array of rank 0.
//   - None makes a pointer, map, slice or interface nil.
//   - For a [Node] the result of its TreeFlatten is the template.
//
// Two places of the target may be the same memory, as with tied weights or a pointer that
// occurs twice, and one array may lie inside another. finish then checks that the
// checkpoint holds the same elements for both. Bind refuses all other places that overlap
// with orbax.ErrStructure, because one leaf would overwrite the other: for example two
// slices, the second of which begins in the middle of the first.
//
// Only finish attaches new values to the target. A load that fails before finish leaves
// the structure and the scalars of the target as they were; it can have changed the
// elements of arrays, slices of numbers, Go arrays of numbers and adapted tensors that
// were to be filled in place. finish itself fails if a TreeUnflatten fails, or if the
// checkpoint has different elements for shared memory; the contents of the target are
// unspecified then.
func Bind(target any, specs []Spec, o BindOptions) (slots []Slot, finish func() error, err error) {
	b := newBinder(specs, o)
	if err := b.run(target); err != nil {
		return nil, nil, err
	}
	return b.slots, b.finish, nil
}

type binder struct {
	types
	BindOptions
	exact    bool // nil takes None alone, and empty containers take empty containers alone
	specs    []Spec
	slots    []Slot
	values   []any  // the values that Set got, normalized, by slot
	set      []bool // whether Set was called, by slot
	commits  []func() error
	claims   []claim          // memory that the load writes
	objects  map[object]claim // maps and nodes that the load writes
	attached []attached
	loaded   []*array.Array // the arrays that adapters got, by slot, where that matters
	apart    map[int][]bool // the shards of slots that fill no memory of the target
	path     Path
	places   []*place // of the prefixes of path, as far as they are known
	depth    int
	errs     pathErrors
	spelled  struct { // see spellings
		branch *branch
		keys   map[string]string
	}
}

func newBinder(specs []Spec, o BindOptions) *binder {
	return &binder{
		types:       newTypes(o.Adapters),
		BindOptions: o,
		specs:       specs,
		slots:       make([]Slot, len(specs)),
		values:      make([]any, len(specs)),
		set:         make([]bool, len(specs)),
		objects:     map[object]claim{},
	}
}

// run plans the load into target.
func (b *binder) run(target any) error {
	root, err := grow(len(b.specs), func(i int) Path { return b.specs[i].Path })
	if err != nil {
		return err
	}
	v := reflect.ValueOf(target)
	switch {
	case len(b.specs) == 0:
		b.fail(fmt.Errorf("%w: the checkpoint has no leaves", fault.ErrStructure))
	case v.Kind() != reflect.Pointer && v.Kind() != reflect.Map || v.IsNil():
		nilness := ""
		if (v.Kind() == reflect.Pointer || v.Kind() == reflect.Map) && v.IsNil() {
			nilness = "nil "
		}
		b.fail(fmt.Errorf("%w: cannot load into a %s%T: pass a pointer or a map that is not nil", fault.ErrLeafType, nilness, target))
	case v.Kind() == reflect.Pointer && v.Type().Elem() != arrayType && v.Type() != shardedType && b.adapter(v.Type()) == nil:
		b.bind(v.Elem(), root)
	case b.isNone(root):
		b.mismatch(v, root)
	default:
		b.bind(settable(v), root)
	}
	if len(b.errs) == 0 {
		b.settleMemory()
	}
	if len(b.errs) > 0 {
		return b.errs.join()
	}
	return nil
}

// finish attaches the values. Commits are in post-order: the contents of a new container
// or a node are complete before the container or node itself is attached.
func (b *binder) finish() error {
	for i, s := range b.slots {
		if s.Set != nil && !b.set[i] {
			return &fault.Leaf{Path: b.specs[i].Path.String(), Err: fmt.Errorf("%w: no data was loaded", fault.ErrIncomplete)}
		}
	}
	var errs []error
	for _, c := range b.commits {
		if err := c(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (b *binder) fail(err error) { b.errs.add(slices.Clone(b.path), err) }

func (b *binder) commit(c func() error) { b.commits = append(b.commits, c) }

// attach sets dst to v in finish.
func (b *binder) attach(dst, v reflect.Value) {
	b.attachLater(dst, func() reflect.Value { return v })
}

// attachLater is attach for a value that exists only after all leaves have been read; the
// zero Value leaves dst as it is.
func (b *binder) attachLater(dst reflect.Value, value func() reflect.Value) {
	b.claimAttached(dst, func() any {
		if v := value(); v.IsValid() {
			return v.Interface()
		}
		return nil
	})
	b.commit(func() error {
		if v := value(); v.IsValid() {
			dst.Set(v)
		}
		return nil
	})
}

// child binds the branch under key k.
func (b *binder) child(k Key, dst reflect.Value, br *branch) {
	b.path = append(b.path, k)
	b.bind(dst, br)
	b.path = b.path[:len(b.path)-1]
	b.places = b.places[:min(len(b.places), len(b.path))]
}
