package tree

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

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

// bind plans how the branch br is loaded into dst, which is settable: a place in the
// target, or in a new value that a later commit attaches.
func (b *binder) bind(dst reflect.Value, br *branch) {
	if b.depth >= maxSteps {
		b.fail(fmt.Errorf("%w: the target %v has more than %d pointers, interfaces and containers inside each other", fault.ErrLeafType, dst.Type(), maxSteps))
		return
	}
	b.depth++
	defer func() { b.depth-- }()

	if isPlaceholder(dst) {
		b.skip(br)
		return
	}
	if b.unreadable(br) {
		return
	}
	if a := b.adapter(dst.Type()); a != nil {
		b.adapted(a, dst, br)
		return
	}
	none := b.isNone(br) && canBeNil(dst.Kind())
	if !none && dst.Type() == shardedType {
		b.sharded(dst, br)
		return
	}
	if !none && b.readerForm(dst.Type()) != notReader {
		b.fail(fmt.Errorf("%w: the target is an %v, which is for saving; use *array.Array", fault.ErrLeafType, baseOf(dst.Type())))
		return
	}
	if node, ok := nodeOf(dst); ok {
		b.node(node, br)
		return
	}
	if none {
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

// unreadable reports whether br is a leaf that cannot be read, and records the error if
// so.
func (b *binder) unreadable(br *branch) bool {
	if br.leaf < 0 || b.specs[br.leaf].Err == nil {
		return false
	}
	b.fail(b.specs[br.leaf].Err)
	return true
}

func canBeNil(k reflect.Kind) bool {
	return k == reflect.Pointer || k == reflect.Map || k == reflect.Slice || k == reflect.Interface
}

func (b *binder) iface(dst reflect.Value, br *branch) {
	want, abstract := abstractArray(dst.Elem())
	like, sharded := shardedIn(dst.Elem())
	switch {
	case abstract:
		b.newArray(dst, want, br)
	case sharded && b.exact:
		b.newSharded(dst, array.Abstract(like), boxesOf(like), br)
	case !dst.IsNil():
		template := settable(dst.Elem())
		if b.changes(template, func() { b.bind(template, br) }) {
			b.attach(dst, template)
		}
	case b.exact:
		b.mismatch(dst, br)
	case dst.NumMethod() > 0:
		b.fail(fmt.Errorf("%w: the checkpoint has %s, the target is a nil %v; put a value of the type to load there", fault.ErrLeafType, b.describe(br), dst.Type()))
	default:
		b.asSaved(dst, br)
	}
}

// changes reports whether the loads that bind plans will change v itself. A reference
// stays as it is if nothing is assigned to it or through it.
func (b *binder) changes(v reflect.Value, bind func()) bool {
	planned := len(b.commits)
	bind()
	return len(b.commits) > planned || !canBeNil(v.Kind())
}

// asSaved plans a load that sets dst to the value that Build makes of the leaves.
func (b *binder) asSaved(dst reflect.Value, br *branch) {
	b.keep(br)
	b.attachLater(dst, func() reflect.Value {
		return reflect.ValueOf(br.value(func(i int) any {
			if b.specs[i].Kind == KindEmpty {
				return b.specs[i].Empty.value()
			}
			return b.values[i]
		}))
	})
}

// keep makes slots that store their values, for all leaves below br.
func (b *binder) keep(br *branch) {
	for _, kid := range br.kids {
		b.keep(kid.branch)
	}
	if br.leaf >= 0 && b.specs[br.leaf].Kind != KindEmpty {
		b.slot(br.leaf, b.stored(br.leaf), nil, nil)
	}
}

// skip makes slots that want nothing, for all leaves below br.
func (b *binder) skip(br *branch) {
	for _, kid := range br.kids {
		b.skip(kid.branch)
	}
	if br.leaf >= 0 {
		b.slots[br.leaf] = Slot{Skip: true}
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
	children := b.children(template, br)
	b.claimObject(reflect.ValueOf(n), children.Interface)
	name := b.path.String()
	b.commit(func() error {
		if err := n.TreeUnflatten(children.Interface()); err != nil {
			return &fault.Leaf{Path: name, Err: err}
		}
		return nil
	})
}

// children plans a load of a node's children into a new variable. The variable starts as
// template, unless template is nil.
func (b *binder) children(template any, br *branch) reflect.Value {
	children := reflect.New(anyType).Elem()
	if template != nil {
		children.Set(reflect.ValueOf(template))
	}
	b.bind(children, br)
	return children
}

// adaptedNode plans a load into a value that an adapter makes a node.
func (b *binder) adaptedNode(a *Adapter, dst reflect.Value, br *branch) {
	var template any
	if !isNil(dst) {
		var err error
		if template, err = a.flatten(dst); err != nil {
			b.fail(err)
			return
		}
	}
	children := b.children(template, br)
	b.claimAttached(dst, children.Interface)
	if v := inside(dst); v.Kind() == reflect.Pointer && !v.IsNil() {
		b.claimObject(v, children.Interface)
	}
	name := b.path.String()
	b.commit(func() error {
		v, err := a.unflatten(children.Interface(), dst)
		if err != nil {
			return &fault.Leaf{Path: name, Err: err}
		}
		dst.Set(v)
		return nil
	})
}

// inside returns the value in an interface, or v itself if v is not an interface.
func inside(v reflect.Value) reflect.Value {
	if v.Kind() == reflect.Interface {
		return v.Elem()
	}
	return v
}
