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
	// Array is memory of the target with the leaf's dtype and shape, to be filled
	// in place. If it is nil, the caller allocates.
	Array *array.Array

	// Set hands over the value when it has been read: Array itself if that is not
	// nil, else an *array.Array or, for other kinds than arrays, the leaf's value
	// as described at Leaf. It is nil for empty leaves, and called once otherwise.
	// A value that does not fit, such as 300 for an int8, is an error, a
	// *orbax.LeafError. Set changes nothing of the target but Array and what an
	// adapter's fromArray changes. Different slots may be set at the same time.
	Set func(v any) error
}

// Bind plans how what a checkpoint holds, one spec a leaf, is loaded into
// target: a non-nil pointer or a non-nil map. The slots are parallel to the
// specs. The caller reads the data, calls Set of every slot and then finish:
//
//	slots, finish, err := tree.Bind(&state, specs)
//
// The specs are kept until then. For scalars, strings and byte strings a slot
// takes both the leaf's value and, where it is stored as one, its array.
//
// The structures must match. Every mismatch is reported, as a *orbax.LeafError
// that shows both sides, wrapping orbax.ErrStructure, orbax.ErrDType,
// orbax.ErrShape or orbax.ErrLeafType. Then nothing of the target has been
// changed.
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
// Where two places of the target are the same memory of an array, as with tied
// weights, finish checks that the checkpoint holds the same bytes for both.
//
// New values are attached to the target by finish alone. A load that fails
// before finish leaves the target with its structure and scalars; what can have
// changed is the contents of the arrays, slices of numbers, Go arrays of
// numbers and adapted tensors that were to be filled in place. If finish itself
// fails, which an error of TreeUnflatten or differing shared arrays cause, the
// contents of the target are unspecified.
func Bind(target any, specs []Spec, adapters ...Adapter) (slots []Slot, finish func() error, err error) {
	b := &binder{
		types:  newTypes(adapters),
		specs:  specs,
		slots:  make([]Slot, len(specs)),
		values: make([]any, len(specs)),
		set:    make([]bool, len(specs)),
		filled: map[region]int{},
	}
	root, err := grow(len(specs), func(i int) Path { return specs[i].Path })
	if err != nil {
		return nil, nil, err
	}
	v := reflect.ValueOf(target)
	switch {
	case len(specs) == 0:
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
	if len(b.errs) > 0 {
		return nil, nil, b.errs.join()
	}
	return b.slots, b.finish, nil
}

type binder struct {
	types
	specs   []Spec
	slots   []Slot
	values  []any  // what Set got, normalized, by slot
	set     []bool // whether Set was called, by slot
	commits []func() error
	filled  map[region]int // memory that is filled in place, and by which slot
	path    Path
	depth   int
	errs    pathErrors
}

// region is memory of the target.
type region struct {
	start *byte
	len   int
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
	b.commit(func() error { dst.Set(v); return nil })
}

// child binds what is under key k.
func (b *binder) child(k Key, dst reflect.Value, br *branch) {
	b.path = append(b.path, k)
	b.bind(dst, br)
	b.path = b.path[:len(b.path)-1]
}

func (b *binder) mismatch(dst reflect.Value, br *branch) {
	advice := ""
	if br.leaf >= 0 && b.specs[br.leaf].Kind == KindArray && dst.Kind() == reflect.Slice {
		advice = "; use *array.Array"
	}
	b.fail(fmt.Errorf("%w: the checkpoint has %s, the target is %s%s", fault.ErrStructure, b.describe(br), describe(dst), advice))
}

func (b *binder) missing(k Key, dst reflect.Value) {
	b.errs.add(append(slices.Clone(b.path), k), fmt.Errorf("%w: missing key: the checkpoint has nothing here, the target is %s", fault.ErrStructure, describe(dst)))
}

func (b *binder) unexpected(k Key, br *branch) {
	b.errs.add(append(slices.Clone(b.path), k), fmt.Errorf("%w: unexpected key: the checkpoint has %s, the target nothing", fault.ErrStructure, b.describe(br)))
}

// describe says what the checkpoint has at br.
func (b *binder) describe(br *branch) string {
	switch {
	case br.leaf >= 0:
		return b.specs[br.leaf].String()
	case br.seq:
		return fmt.Sprintf("a sequence of %d", len(br.kids))
	case len(br.kids) == 1:
		return "a dict with 1 key"
	}
	return fmt.Sprintf("a dict with %d keys", len(br.kids))
}

// describe says what the target is at v.
func describe(v reflect.Value) string {
	for v.Kind() == reflect.Interface && !v.IsNil() {
		v = v.Elem()
	}
	if v.Kind() == reflect.Pointer && v.Type().Elem() == arrayType && !v.IsNil() {
		a := v.Interface().(*array.Array)
		return fmt.Sprintf("an array %v%v", a.DType(), a.Shape())
	}
	if v.Kind() == reflect.Slice && v.Len() > 0 {
		return fmt.Sprintf("%v of length %d", v.Type(), v.Len())
	}
	return v.Type().String()
}

func (b *binder) emptyIs(br *branch, es ...Empty) bool {
	return br.leaf >= 0 && b.specs[br.leaf].Kind == KindEmpty && slices.Contains(es, b.specs[br.leaf].Empty)
}

func (b *binder) isNone(br *branch) bool { return b.emptyIs(br, None) }

func (b *binder) isDict(br *branch) bool {
	return br.kids != nil && !br.seq || b.emptyIs(br, EmptyDict)
}

func (b *binder) isSeq(br *branch) bool {
	return br.seq || b.emptyIs(br, EmptyList, EmptyTuple)
}

// bind plans how what is at br goes to dst, which is settable: a place in the
// target, or in a new value that a later commit attaches.
func (b *binder) bind(dst reflect.Value, br *branch) {
	if b.depth >= maxDepth {
		b.fail(fmt.Errorf("%w: the target %v is nested more than %d levels deep", fault.ErrLeafType, dst.Type(), maxDepth))
		return
	}
	b.depth++
	defer func() { b.depth-- }()

	if a := b.adapter(dst.Type()); a != nil {
		b.adapted(a, dst, br)
		return
	}
	if node, ok := nodeOf(dst); ok {
		b.node(node, br)
		return
	}
	if b.isNone(br) && canBeNil(dst.Kind()) {
		b.attach(dst, reflect.Zero(dst.Type()))
		return
	}
	switch dst.Kind() {
	case reflect.Interface:
		b.iface(dst, br)
	case reflect.Pointer:
		b.pointer(dst, br)
	case reflect.Map:
		b.dict(dst, br)
	case reflect.Struct:
		b.structure(dst, br)
	case reflect.Slice:
		b.slice(dst, br)
	case reflect.Array:
		b.array(dst, br)
	default:
		b.scalar(dst, br)
	}
}

func canBeNil(k reflect.Kind) bool {
	return k == reflect.Pointer || k == reflect.Map || k == reflect.Slice || k == reflect.Interface
}

func (b *binder) iface(dst reflect.Value, br *branch) {
	switch {
	case !dst.IsNil():
		template := settable(dst.Elem())
		b.bind(template, br)
		b.attach(dst, template)
	case dst.NumMethod() > 0:
		b.fail(fmt.Errorf("%w: the checkpoint has %s, the target is a nil %v; put a value of the type to load there", fault.ErrLeafType, b.describe(br), dst.Type()))
	default:
		b.asSaved(dst, br)
	}
}

// asSaved makes dst what Build would make of the leaves.
func (b *binder) asSaved(dst reflect.Value, br *branch) {
	b.keep(br)
	b.commit(func() error {
		v := br.value(func(i int) any {
			if b.specs[i].Kind == KindEmpty {
				return b.specs[i].Empty.value()
			}
			return b.values[i]
		})
		if v != nil {
			dst.Set(reflect.ValueOf(v))
		}
		return nil
	})
}

// keep makes slots that store their values, for all leaves below br.
func (b *binder) keep(br *branch) {
	for _, kid := range br.kids {
		b.keep(kid)
	}
	if br.leaf >= 0 && b.specs[br.leaf].Kind != KindEmpty {
		b.slot(br.leaf, nil, nil)
	}
}

func (b *binder) pointer(dst reflect.Value, br *branch) {
	switch {
	case dst.Type().Elem() == arrayType:
		b.hostArray(dst, br)
	case dst.IsNil():
		p := reflect.New(dst.Type().Elem())
		b.bind(p.Elem(), br)
		b.attach(dst, p)
	default:
		b.bind(dst.Elem(), br)
	}
}

func (b *binder) node(n Node, br *branch) {
	template, err := n.TreeFlatten()
	if err != nil {
		b.fail(err)
		return
	}
	children := reflect.New(anyType).Elem()
	if template != nil {
		children.Set(reflect.ValueOf(template))
	}
	b.bind(children, br)
	name := b.path.String()
	b.commit(func() error {
		if err := n.TreeUnflatten(children.Interface()); err != nil {
			return &fault.Leaf{Path: name, Err: err}
		}
		return nil
	})
}
