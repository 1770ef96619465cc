package tree

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// Slot is where one leaf of a checkpoint goes.
type Slot struct {
	// Skip says that the leaf is not wanted and need not be read. All else is zero
	// then.
	Skip bool

	// Want is the array that Set takes, of a leaf that is stored as one. Its dtype
	// and shape are those of the Spec unless BindOptions let them differ: then the
	// reader converts as array.Convert does, cuts each axis off at its end, and fills
	// with zeros what is not in the checkpoint. Sharding is that of the array, nil
	// for the one that is stored.
	Want array.ShapeDtypeStruct

	// Array is memory of the target with Want's dtype and shape, to be filled in
	// place. If it is nil, the caller allocates.
	Array *array.Array

	// Set hands over the value when it has been read: Array itself if that is not
	// nil, else an *array.Array as Want says or, for a string, the string. A scalar,
	// and a byte string that is wanted as it is stored, may also come as described at
	// [Leaf]. Set is nil for leaves that are empty or not wanted; the caller calls every
	// other Set once. For a value that does not fit, such as 300 for an int8, it returns
	// a *orbax.LeafError. In the target, Set changes only Array and what an adapter's
	// fromArray changes. Different slots may be set at the same time.
	Set func(v any) error
}

// BindOptions says which differences between a checkpoint and a target a load accepts.
type BindOptions struct {
	// Adapters are for the foreign tensor types of the target.
	Adapters []Adapter

	// Cast converts arrays and numbers to the target's dtype, by the rules of
	// array.Convert: float to int drops the fraction, what is too large for an
	// integer becomes the largest, and NaN becomes 0.
	Cast bool

	// PadOrTruncate lets arrays of the same rank differ in shape: each axis is cut
	// off at its end, or continued with zeros. Slices of numbers that are empty, and
	// []byte, still take the length that is stored.
	PadOrTruncate bool

	// Partial leaves out what the checkpoint has and a struct, or a map with elements, of
	// the target does not. A key that the target has and the checkpoint lacks remains an
	// error, and so does a sequence of another length.
	Partial bool

	// Shared, if set, is the memory of all loads that go on at the same time: each
	// load refuses memory that another one writes, and adds its own.
	Shared *Targets
}

// Bind plans how what a checkpoint holds, one spec a leaf, is loaded into
// target: a non-nil pointer or a non-nil map. The slots are parallel to the
// specs. The caller reads the data, calls Set of every slot and then finish:
//
//	slots, finish, err := tree.Bind(&state, specs, tree.BindOptions{})
//
// The specs are kept until then.
//
// The structures must match, unless the options say otherwise. Every mismatch is
// reported, as a *orbax.LeafError that shows both sides and the option that would
// accept it, wrapping orbax.ErrStructure, orbax.ErrDType, orbax.ErrShape or
// orbax.ErrLeafType. Then nothing of the target has been changed.
//
//   - A struct takes a dict that has its fields and no others; a field with
//     omitempty may be missing and is set to zero then. The fields of an embedded
//     nil pointer may be missing together. A sequence struct takes a sequence of
//     as many elements. A struct without fields takes all that is empty, None too.
//   - A map with elements takes a dict of the same keys, and the elements are
//     templates; an empty or nil map takes all keys that its type can hold.
//   - A nil or empty slice takes a sequence of any length, others and Go arrays
//     one of their own. Lists and tuples are not told apart.
//   - A nil `any` takes everything, as Build gives it. A non-nil interface is a
//     template for a value of the type it holds. Nil pointers are allocated.
//   - [Placeholder] in an interface takes everything and loads nothing: it stays,
//     and what the checkpoint has there is skipped. A key for it may be missing.
//   - array.ShapeDtypeStruct in an interface, or a pointer to one, takes what an
//     *array.Array of its dtype and shape takes, and is replaced by a new array
//     with its sharding.
//   - *array.Array that is not nil takes an array of its dtype and shape, in place;
//     nil takes any. It takes scalars as arrays of rank 0, and byte strings.
//   - A slice of numbers takes a rank-1 array of its dtype and length, in place; a
//     nil or empty one any length. A Go array takes its length. []byte takes byte
//     strings and uint8 arrays of any length, one of its own length in place.
//   - Integer types and *big.Int take integers of any width, checked by Set when
//     the value is there. Otherwise numbers only widen: float32 to float64,
//     complex64 to complex128. A scalar also takes an array of rank 0.
//   - None makes a pointer, map, slice or interface nil.
//   - For a [Node] the result of its TreeFlatten is the template.
//
// Two places of the target may be the same memory, as with tied weights or a pointer that
// is there twice, and an array may lie inside another: finish then checks that the
// checkpoint holds the same for both. All other places that overlap are refused with
// orbax.ErrStructure, because one leaf would overwrite the other: two slices, for
// example, one of which begins in the middle of the other.
//
// New values are attached to the target by finish alone. A load that fails
// before finish leaves the target with its structure and scalars; what can have
// changed is the contents of the arrays, slices of numbers, Go arrays of
// numbers and adapted tensors that were to be filled in place. If finish itself
// fails, which an error of TreeUnflatten or differing shared arrays cause, the
// contents of the target are unspecified.
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
	exact    bool // nil takes None alone, and empty containers take empty ones
	specs    []Spec
	slots    []Slot
	values   []any  // what Set got, normalized, by slot
	set      []bool // whether Set was called, by slot
	commits  []func() error
	claims   []claim          // memory that is written
	objects  map[object]claim // maps and nodes that are written
	attached []attached
	loaded   []*array.Array // what adapters got, by slot, if that matters
	path     Path
	places   []*place // of the beginnings of path, as far as they are known
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
	case v.Kind() == reflect.Pointer && v.Type().Elem() != arrayType && b.adapter(v.Type()) == nil:
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

// finish attaches the values. Commits are in post-order: what is inside of a new
// container or a node is complete before that itself is attached.
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

// attachLater is attach for a value that is not there before all leaves are; the
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

// child binds what is under key k.
func (b *binder) child(k Key, dst reflect.Value, br *branch) {
	b.path = append(b.path, k)
	b.bind(dst, br)
	b.path = b.path[:len(b.path)-1]
	b.places = b.places[:min(len(b.places), len(b.path))]
}
