package tree

import (
	"bytes"
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"unsafe"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// claim is memory of the target that a load writes. The pointer keeps the memory from
// being reused before the claims are compared.
type claim struct {
	start unsafe.Pointer
	len   uintptr
	use   use
	index int // number of the leaf; for useAttached, index in binder.attached
	shard int // number of the shard, if an *array.Sharded is filled
}

func (c *claim) end() uintptr { return uintptr(c.start) + c.len }

// use is how a load writes memory.
type use uint8

const (
	useFilled   use = iota // a leaf's elements are read into it
	useTensor              // an adapter may write a leaf's elements to it
	usePlaced              // a variable that a leaf's value is assigned to
	useAttached            // a variable, map or node that another value is assigned to
)

// attached is a value that a load sets and that belongs to no leaf.
type attached struct {
	at    *place
	value func() any // returns the value, after all leaves have been read
}

// place is a place in the tree; nil is the root. Places share their parents, so that
// adding a place costs the same at any depth of the tree.
type place struct {
	up  *place
	key Key
}

func (p *place) path() Path {
	var path Path
	for ; p != nil; p = p.up {
		path = append(path, p.key)
	}
	slices.Reverse(path)
	return path
}

// here returns the place of the path that is being bound.
func (b *binder) here() *place {
	var at *place
	if n := len(b.places); n > 0 {
		at = b.places[n-1]
	}
	for _, k := range b.path[len(b.places):] {
		at = &place{at, k}
		b.places = append(b.places, at)
	}
	return at
}

func (b *binder) claimMemory(a *array.Array, u use, i int) {
	b.claimShard(a, u, i, 0)
}

// claimShard is claimMemory for shard k of leaf i.
func (b *binder) claimShard(a *array.Array, u use, i, k int) {
	b.claim(claim{unsafe.Pointer(unsafe.SliceData(a.Bytes())), uintptr(len(a.Bytes())), u, i, k})
}

// claimVariable claims dst for the value of leaf i.
func (b *binder) claimVariable(dst reflect.Value, u use, i int) {
	b.claim(claim{dst.Addr().UnsafePointer(), dst.Type().Size(), u, i, 0})
}

// claimAttached claims dst for a value that belongs to no leaf.
func (b *binder) claimAttached(dst reflect.Value, value func() any) {
	b.attached = append(b.attached, attached{b.here(), value})
	b.claimVariable(dst, useAttached, len(b.attached)-1)
}

// claimObject claims a map, or the node that a pointer points at. Such a claim has no
// extent: it is identical to another claim or independent of it.
func (b *binder) claimObject(p reflect.Value, value func() any) {
	if p.Kind() == reflect.Pointer && p.Type().Elem().Size() == 0 {
		return
	}
	c := claim{p.UnsafePointer(), 0, useAttached, len(b.attached), 0}
	b.attached = append(b.attached, attached{b.here(), value})
	key := object{p.Type(), c.start}
	if first, ok := b.objects[key]; ok {
		b.tie(&first, &c)
		return
	}
	b.objects[key] = c
}

// object is a map or a node of the target.
type object struct {
	typ reflect.Type
	ptr unsafe.Pointer
}

func (b *binder) claim(c claim) {
	if c.len > 0 {
		b.claims = append(b.claims, c)
	}
}

// byAddress orders claims by their start; of those with one start, the longest comes
// first.
func byAddress(x, y claim) int {
	return cmp.Or(cmp.Compare(uintptr(x.start), uintptr(y.start)), cmp.Compare(y.len, x.len))
}

// pathOf returns the path that made a claim.
func (b *binder) pathOf(c *claim) Path {
	if c.use == useAttached {
		return b.attached[c.index].at.path()
	}
	return b.specs[c.index].Path
}

// settleMemory refuses a target in which two places overlap, so that one leaf would
// overwrite another. Where both places are the same memory, as with tied weights, or one
// array lies inside the other, finish checks that the checkpoint has the same elements
// for both.
func (b *binder) settleMemory() {
	if !slices.IsSortedFunc(b.claims, byAddress) {
		slices.SortStableFunc(b.claims, byAddress)
	}
	var last *claim // the claim so far that ends last
	for i := range b.claims {
		c := &b.claims[i]
		switch {
		case last == nil || uintptr(c.start) >= last.end():
			last = c
		case c.use == useFilled && last.use == useFilled && c.index == last.index:
			b.errs.add(b.pathOf(c), errOverlap("another shard of this array"))
		case c.use != last.use || c.end() > last.end():
			b.errs.add(b.pathOf(c), errOverlap("the one at "+b.pathOf(last).keys()))
		case c.use == useFilled || c.len == last.len && c.start == last.start:
			b.tie(last, c)
		default:
			b.errs.add(b.pathOf(c), errOverlap("the one at "+b.pathOf(last).keys()))
		}
	}
	if len(b.errs) == 0 && b.Shared != nil {
		b.shareMemory()
	}
}

func errOverlap(other string) error {
	return fmt.Errorf("%w: the target's memory here overlaps that of %s, so that one would overwrite the other; give each its own", fault.ErrStructure, other)
}

// tie makes finish check that the checkpoint has the same elements for two claims of the
// same memory.
func (b *binder) tie(first, second *claim) {
	same := func() bool { return b.sameValue(b.valueOf(first), b.valueOf(second)) }
	i, j := first.index, second.index
	switch first.use {
	case useFilled:
		shared := unsafe.Slice((*byte)(second.start), second.len) // the first slot fills these bytes
		loaded := b.loadApart(j, second.shard)
		same = func() bool { return bytes.Equal(shared, loaded().Bytes()) }
	case useTensor:
		if b.loaded == nil {
			b.loaded = make([]*array.Array, len(b.specs))
		}
		same = func() bool { return b.loaded[i].Equal(b.loaded[j]) }
	}
	path, other := b.pathOf(second).String(), b.pathOf(first).keys()
	b.commit(func() error {
		if same() {
			return nil
		}
		return &fault.Leaf{Path: path, Err: fmt.Errorf("%w: the target shares the memory of this place and the one at %s, and the checkpoint has different values", fault.ErrStructure, other)}
	})
}

// valueOf returns the value that the load gives a claimed variable.
func (b *binder) valueOf(c *claim) any {
	if c.use == useAttached {
		return b.attached[c.index].value()
	}
	switch v := b.values[c.index].(type) {
	case reflect.Value:
		return v.Interface()
	default:
		return v
	}
}

// sameValue reports whether two values have the same leaves, bit for bit.
func (b *binder) sameValue(x, y any) bool {
	xs, err := Flatten(x, b.Adapters...)
	if err != nil {
		return false
	}
	ys, err := Flatten(y, b.Adapters...)
	return err == nil && slices.EqualFunc(xs, ys, func(x, y Leaf) bool {
		if x.Path.Compare(y.Path) != 0 {
			return false
		}
		if s, ok := x.Value.(*array.Sharded); ok {
			return equalSharded(s, y.Value)
		}
		a, errA := asArray(x.Value)
		c, errC := asArray(y.Value)
		if errA == nil && errC == nil {
			return a.Equal(c)
		}
		return x.Value == y.Value
	})
}

// Targets collects the target memory of several loads that run at the same time, for
// [BindOptions]. The zero value is ready to use.
type Targets struct {
	mu     sync.Mutex
	claims []claim // disjoint, sorted
}

// shareMemory refuses memory that another load writes, and adds the memory of this one.
func (b *binder) shareMemory() {
	t := b.Shared
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range b.claims {
		c := &b.claims[i]
		k, _ := slices.BinarySearchFunc(t.claims, uintptr(c.start), func(o claim, at uintptr) int {
			return cmp.Compare(o.end(), at+1) // the first claim that ends after at
		})
		if k < len(t.claims) && uintptr(t.claims[k].start) < c.end() {
			b.errs.add(b.pathOf(c), errOverlap("another target that is loaded at the same time"))
		}
	}
	if len(b.errs) > 0 {
		return
	}
	t.claims = append(t.claims, b.claims...)
	slices.SortFunc(t.claims, byAddress)
	t.claims = slices.CompactFunc(t.claims, func(x, y claim) bool { return x.start == y.start })
}
