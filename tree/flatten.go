package tree

import (
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

const (
	// maxDepth bounds the keys of a path, in trees that are saved and in trees that are
	// loaded. Python fails long before: it cannot load trees that are nearly as deep.
	maxDepth = 4096
	// maxSteps bounds how many containers, pointers, interfaces and nodes may be inside
	// each other. A container in a variable of type any takes two steps and one key.
	maxSteps = 8 * maxDepth
)

// Flatten lists the leaves of v, dict keys in the order of their bytes and sequences in
// their own. It does not copy arrays, slices and addressable Go arrays: the leaves share
// their memory. A v that is nil or an empty container gives one leaf of type [Empty] at
// the root.
//
// The errors wrap orbax.ErrLeafType for a value that a checkpoint cannot hold (also for a
// value that contains itself), and orbax.ErrKeyCollision for leaves with different paths
// and one name, which is the keys joined with dots. Errors of TreeFlatten and of adapters
// are passed on. Flatten returns the leaves without errors even if it returns an error,
// for further checks.
func Flatten(v any, adapters ...Adapter) ([]Leaf, error) {
	f := flattener{types: newTypes(adapters)}
	return f.flatten(v)
}

func (f *flattener) flatten(v any) ([]Leaf, error) {
	f.walk(reflect.ValueOf(v))
	if f.dotted {
		f.checkNames()
	}
	return f.leaves, f.errs.join()
}

type flattener struct {
	types
	abstract bool // take values that stand for leaves, and distinguish tuples from lists
	path     Path
	depth    int
	dotted   bool // a key contains a dot, so names may collide
	open     []visit
	slab     []Key // memory for the paths of leaves
	leaves   []Leaf
	errs     pathErrors
}

// visit is a pointer, map or slice that is being walked.
type visit struct {
	typ  reflect.Type
	ptr  unsafe.Pointer
	len  int
	path int // length of the path at which it was entered
}

func (f *flattener) leaf(v any) { f.leaves = append(f.leaves, Leaf{f.pathCopy(), v}) }

func (f *flattener) fail(err error) { f.errs.add(slices.Clone(f.path), err) }

func (f *flattener) pathCopy() Path {
	n := len(f.path)
	if n > len(f.slab) {
		f.slab = make([]Key, max(256, n))
	}
	p := f.slab[:n:n]
	f.slab = f.slab[n:]
	copy(p, f.path)
	return p
}

// child walks the value under key k.
func (f *flattener) child(k Key, v reflect.Value) {
	if len(f.path) == maxDepth {
		f.fail(fmt.Errorf("%w: nested more than %d levels deep", fault.ErrLeafType, maxDepth))
		return
	}
	f.path = append(f.path, k)
	if !k.Seq && !utf8.ValidString(k.Name) {
		f.fail(fmt.Errorf("%w: the key %q is not valid UTF-8", fault.ErrLeafType, k.Name))
	} else {
		f.dotted = f.dotted || strings.Contains(k.Name, ".")
		f.walk(v)
	}
	f.path = f.path[:len(f.path)-1]
}

// enter records that the walk is inside the memory of v, which has length n. If the walk
// is inside it already, enter reports an error and returns false.
func (f *flattener) enter(v reflect.Value, n int) bool {
	e := visit{v.Type(), v.UnsafePointer(), n, len(f.path)}
	for _, o := range f.open {
		if o.ptr == e.ptr && o.typ == e.typ && o.len == e.len {
			f.fail(fmt.Errorf("%w: the value contains itself: this %v is the one at %s", fault.ErrLeafType, e.typ, placeName(f.path[:o.path])))
			return false
		}
	}
	f.open = append(f.open, e)
	return true
}

func (f *flattener) leave() { f.open = f.open[:len(f.open)-1] }

func (f *flattener) walk(v reflect.Value) {
	if f.depth >= maxSteps {
		f.fail(fmt.Errorf("%w: more than %d pointers, interfaces and containers inside each other", fault.ErrLeafType, maxSteps))
		return
	}
	f.depth++
	defer func() { f.depth-- }()

	if !v.IsValid() {
		f.leaf(None)
		return
	}
	t := v.Type()
	if a := f.adapter(t); a != nil {
		f.adapted(a, v)
		return
	}
	switch {
	case t == abstractType || t == placeholderType:
		f.standIn(v)
		return
	case f.readerForm(t) != notReader:
		f.reader(v)
		return
	}
	if node, ok := nodeOf(v); ok {
		f.node(node)
		return
	}
	switch v.Kind() {
	case reflect.Interface:
		f.walk(v.Elem())
	case reflect.Pointer:
		f.pointer(v)
	case reflect.Map:
		f.dict(v)
	case reflect.Struct:
		f.structure(v)
	case reflect.Slice, reflect.Array:
		f.list(v)
	default:
		f.scalar(v)
	}
}

// nodeOf returns v as a Node if v is one or, where T is v's type, *T is one. For a
// pointer it returns false: the walk reaches the value behind it later.
func nodeOf(v reflect.Value) (Node, bool) {
	t := v.Type()
	if k := t.Kind(); k == reflect.Pointer || k == reflect.Interface || t.PkgPath() == "" && k != reflect.Struct {
		return nil, false
	}
	if !reflect.PointerTo(t).Implements(nodeType) {
		return nil, false
	}
	n, ok := addressable(v).Addr().Interface().(Node)
	return n, ok
}

func (f *flattener) node(n Node) {
	v, err := n.TreeFlatten()
	if err != nil {
		f.fail(err)
		return
	}
	f.walk(reflect.ValueOf(v))
}

func (f *flattener) adapted(a *Adapter, v reflect.Value) {
	if isNil(v) {
		f.leaf(None)
		return
	}
	if a.flatten != nil {
		f.adaptedNode(a, v)
		return
	}
	arr, err := a.toArray(v)
	switch {
	case err != nil:
		f.fail(err)
	case arr == nil:
		f.leaf(None)
	default:
		f.array(arr)
	}
}

// adaptedNode walks the value that an adapter returns in place of v.
func (f *flattener) adaptedNode(a *Adapter, v reflect.Value) {
	children, err := a.flatten(v)
	if err != nil {
		f.fail(err)
		return
	}
	f.walk(reflect.ValueOf(children))
}

func (f *flattener) array(a *array.Array) {
	if a.DType() == array.Invalid {
		f.fail(fmt.Errorf("%w: the zero array.Array, which has no dtype", fault.ErrLeafType))
		return
	}
	f.leaf(a)
}

func (f *flattener) pointer(v reflect.Value) {
	if v.IsNil() {
		f.leaf(None)
		return
	}
	if v.Type().Elem() == arrayType {
		f.array(v.Interface().(*array.Array))
		return
	}
	if f.enter(v, 0) {
		f.walk(v.Elem())
		f.leave()
	}
}

func (f *flattener) scalar(v reflect.Value) {
	if d := specialDType(v.Type()); d != array.Invalid {
		f.view(d, settable(v)) // a scalar is a value: no view of the caller's memory
		return
	}
	if v.Type() == emptyType && v.Uint() <= uint64(EmptyTuple) {
		f.leaf(Empty(v.Uint()))
		return
	}
	x, ok := scalarValue(v)
	if !ok {
		f.fail(fmt.Errorf("%w: %v", fault.ErrLeafType, v.Type()))
		return
	}
	if s, isString := x.(string); isString && !utf8.ValidString(s) {
		f.fail(fmt.Errorf("%w: a string that is not valid UTF-8; use []byte", fault.ErrLeafType))
		return
	}
	f.leaf(x)
}

func (f *flattener) view(d array.DType, v reflect.Value) {
	a, err := view(d, v)
	if err != nil {
		f.fail(err)
		return
	}
	f.leaf(a)
}

// list walks slices and Go arrays.
func (f *flattener) list(v reflect.Value) {
	t := v.Type()
	isSlice := t.Kind() == reflect.Slice
	isBytes := isSlice && t.Elem() == byteType
	if isSlice && v.IsNil() && !(isBytes && f.abstract) {
		f.leaf(None)
		return
	}
	if isBytes {
		b := v.Bytes()
		if b == nil {
			b = []byte{}
		}
		f.leaf(b)
		return
	}
	if d := elemDType(t.Elem()); d != array.Invalid {
		if !isSlice {
			v = addressable(v)
		}
		f.view(d, v)
		return
	}
	if v.Len() == 0 {
		switch t {
		case tupleType:
			f.leaf(EmptyTuple)
		default:
			f.leaf(EmptyList)
		}
		return
	}
	if isSlice {
		if !f.enter(v, v.Len()) {
			return
		}
		defer f.leave()
	}
	for i := range v.Len() {
		k := seqKey(i)
		k.Tuple = f.abstract && t == tupleType
		f.child(k, v.Index(i))
	}
}

func (f *flattener) dict(v reflect.Value) {
	name := keyNamer(v.Type().Key())
	if name == nil {
		f.fail(fmt.Errorf("%w: %v: keys must be strings or integers", fault.ErrLeafType, v.Type()))
		return
	}
	if v.IsNil() {
		f.leaf(None)
		return
	}
	if v.Len() == 0 {
		f.leaf(EmptyDict)
		return
	}
	if !f.enter(v, 0) {
		return
	}
	defer f.leave()
	e, names := elementsOf(v, name)
	for _, n := range names {
		f.child(Key{Name: n.name}, e.values.Index(n.index))
	}
}

func (f *flattener) structure(v reflect.Value) {
	t := v.Type()
	switch t {
	case bigIntType:
		if x, err := bigInt(addressable(v).Addr().Interface().(*big.Int)); err != nil {
			f.fail(err)
		} else {
			f.leaf(x)
		}
		return
	case arrayType:
		f.fail(errByValue(t))
		return
	}
	s := f.structOf(t)
	if s.err != nil {
		f.fail(s.err)
		return
	}
	n := 0
	for _, fd := range s.fields {
		fv, ok := fieldOf(v, fd.index)
		if !ok || fd.omitEmpty && isEmpty(fv) {
			continue
		}
		n++
		f.child(fd.key, fv)
	}
	switch {
	case n > 0:
	case s.seq:
		f.leaf(EmptyTuple)
	default:
		f.leaf(EmptyDict)
	}
}

// isNil reports whether v is nil. It returns false for kinds that have no nil.
func isNil(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface, reflect.Func, reflect.Chan:
		return v.IsNil()
	}
	return false
}

// checkNames reports leaves that share a name.
func (f *flattener) checkNames() {
	first := make(map[string]Path, len(f.leaves))
	for _, l := range f.leaves {
		name := l.Path.String()
		if other, ok := first[name]; ok {
			f.errs.add(l.Path, fmt.Errorf("%w: the keys %s and %s have the same name", fault.ErrKeyCollision, other.keys(), l.Path.keys()))
			continue
		}
		first[name] = l.Path
	}
}
