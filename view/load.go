package view

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/handover"
	"github.com/go-orbax/orbax/internal/memory"
	"github.com/go-orbax/orbax/internal/region"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/tree"
)

// Load reads the tree into maps and slices, in the types that [tree.Build] makes.
func (t *Tree) Load(ctx context.Context) (any, error) {
	ctx, done, err := t.mapper.use(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	values, err := load(ctx, t.leaves, nil, t.mapper)
	if err != nil {
		return nil, err
	}
	leaves := make([]tree.Leaf, len(values))
	for i, v := range values {
		leaves[i] = tree.Leaf{Path: t.leaves[i].meta.Path, Value: v}
	}
	return tree.Build(leaves)
}

// LoadInto reads the tree into target by the rules of [tree.Bind]. An array that is
// filled in place keeps its own sharding, and must hold PRNG keys if and only if the leaf
// does. After an error the contents of arrays in target are unspecified.
func (t *Tree) LoadInto(ctx context.Context, target any, o tree.BindOptions) error {
	slots, finish, err := tree.Bind(target, t.specs(), o)
	if err != nil {
		return err
	}
	return t.fill(ctx, slots, finish)
}

// LoadAbstract reads the leaves that abstract describes into a new tree of the same
// structure; see [tree.BindAbstract].
func (t *Tree) LoadAbstract(ctx context.Context, abstract any, o tree.BindOptions) (any, error) {
	slots, finish, err := tree.BindAbstract(abstract, t.specs(), o)
	if err != nil {
		return nil, err
	}
	var v any
	err = t.fill(ctx, slots, func() error {
		v, err = finish()
		return err
	})
	return v, err
}

// fill reads the leaves that the slots want, hands them over and finishes.
func (t *Tree) fill(ctx context.Context, slots []tree.Slot, finish func() error) error {
	if err := t.checkKeys(slots); err != nil {
		return err
	}
	ctx, done, err := t.mapper.use(ctx)
	if err != nil {
		return err
	}
	defer done()
	values, err := load(ctx, t.leaves, slots, t.mapper)
	if err != nil {
		return err
	}
	var errs []error
	for i, v := range values {
		if slots[i].Set == nil { // an empty node, or a leaf that is not wanted
			continue
		}
		if a := slots[i].Array; a != nil {
			v = a
		}
		if a := slots[i].Sharded; a != nil {
			v = a
		}
		if err := slots[i].Set(v); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return finish()
}

// checkKeys refuses to fill an array of PRNG keys with numbers, or the reverse, because
// the array would keep its own generator. It also refuses to cast, pad or truncate PRNG
// keys.
func (t *Tree) checkKeys(slots []tree.Slot) error {
	var errs []error
	for i, l := range t.leaves {
		s, impl := &slots[i], l.meta.PRNGImpl
		if s.Array != nil && s.Array.PRNGImpl() != impl {
			errs = append(errs, l.wrap(fmt.Errorf(
				"%w: the checkpoint has %s, the target is %s; a nil *array.Array takes both",
				fault.ErrDType, keyKind(impl), keyKind(s.Array.PRNGImpl()))))
		}
		if s.Sharded != nil && s.Sharded.PRNGImpl() != impl {
			errs = append(errs, l.wrap(fmt.Errorf("%w: the checkpoint has %s, the target is %s; array.Sharded.WithPRNGImpl gives it the generator",
				fault.ErrDType, keyKind(impl), keyKind(s.Sharded.PRNGImpl()))))
		}
		if impl != "" && !s.Skip && (s.Want.DType != l.meta.DType || !slices.Equal(s.Want.Shape, l.meta.Shape)) {
			errs = append(errs, l.wrap(fmt.Errorf("%w: the checkpoint has %s of %v, which cannot be cast, padded or truncated to %v",
				fault.ErrDType, keyKind(impl), l.meta.Spec(), s.Want)))
		}
	}
	return errors.Join(errs...)
}

func keyKind(impl string) string {
	if impl == "" {
		return "an ordinary array"
	}
	return "a PRNG key of " + impl
}

// load reads leaves, into the slots' arrays where there are some, or maps them. It
// returns their values, nil for leaves that are not wanted.
func load(ctx context.Context, leaves []*Leaf, slots []tree.Slot, m *mapper) (values []any, err error) {
	if err := mayRead(ctx, leaves); err != nil {
		return nil, err
	}
	if err := checkAll(leaves, func(i int) bool { return slots != nil && slots[i].Skip }); err != nil {
		return nil, err
	}
	arrays, mapped, err := m.arrays(ctx, leaves, slots)
	defer func() { m.keep(mapped, err) }()
	values = make([]any, len(leaves))
	if s := handover.From(ctx); s != nil && err == nil {
		err = readTogether(ctx, s, leaves, slots, arrays, values)
	} else if err == nil {
		err = readArrays(ctx, leaves, slots, arrays, values)
	}
	if err != nil {
		return nil, err
	}
	meter := transfer.MeterOf(ctx)
	for i, l := range leaves {
		if a, ok := values[i].(*array.Sharded); ok {
			meter.AddArray(bytesOf(a))
			continue
		}
		if l.isArray() {
			if arrays[i] == nil {
				continue
			}
			meter.AddArray(int64(len(arrays[i].Bytes())))
		}
		if values[i], err = l.valueOf(arrays[i]); err != nil {
			return nil, l.wrap(err)
		}
	}
	return values, nil
}

// readArrays reads the leaves that are arrays, wanted, and not yet in arrays. arrays has
// a place for each leaf. Leaves of which the slots want boxes go to values, which is
// needed only if there are any.
func readArrays(ctx context.Context, leaves []*Leaf, slots []tree.Slot, arrays []*array.Array, values []any) error {
	toRead := func(i int) bool {
		return leaves[i].isArray() && arrays[i] == nil && (slots == nil || !slots[i].Skip)
	}
	requests, err := makeArrays(leaves, slots, arrays, values, toRead)
	if err != nil {
		return err
	}
	return read(ctx, requests, nil)
}

// makeArrays makes the arrays of the leaves that are to be read, and returns the requests
// that fill them.
func makeArrays(leaves []*Leaf, slots []tree.Slot, arrays []*array.Array, values []any, toRead func(i int) bool) ([]request, error) {
	reserved, err := reserveArrays(leaves, slots, toRead)
	if err != nil {
		return nil, err
	}
	defer reserved.Release()
	requests := make([]request, 0, len(leaves))
	for i, l := range leaves {
		if !toRead(i) {
			continue
		}
		if slots != nil && slots[i].Boxes != nil {
			a, err := l.shards(&slots[i])
			if err != nil {
				return nil, l.wrap(err)
			}
			values[i] = a
			requests = l.intoShards(requests, a)
			continue
		}
		a, err := l.memory(slots, i)
		if err != nil {
			return nil, l.wrap(err)
		}
		arrays[i] = a
		requests = append(requests, l.into(a))
	}
	return requests, nil
}

// reserveArrays reserves memory for all leaves that are to be read. If there is too
// little, it returns an error of the leaf that exceeds it.
func reserveArrays(leaves []*Leaf, slots []tree.Slot, toRead func(i int) bool) (memory.Reservation, error) {
	var total int64
	largest, most := -1, int64(-1)
	for i, l := range leaves {
		if !toRead(i) || slots != nil && (slots[i].Array != nil || slots[i].Sharded != nil) {
			continue
		}
		n, err := l.memoryFor(slots, i)
		if err != nil {
			return memory.Reservation{}, l.wrap(err)
		}
		if total > math.MaxInt64-int64(n) {
			return memory.Reservation{}, l.wrap(fmt.Errorf("%w: more than 2^63 bytes in all", fault.ErrNoMemory))
		}
		total += int64(n)
		if int64(n) > most {
			largest, most = i, int64(n)
		}
	}
	reserved, err := memory.Reserve(total)
	if err == nil {
		return reserved, nil
	}
	return memory.Reservation{}, leaves[largest].wrap(fmt.Errorf("%w; this leaf has %d of the %d bytes of all leaves that are loaded: load fewer, or a part of it", err, most, total))
}

// memoryFor returns the number of bytes that leaf number i is read into.
func (l *Leaf) memoryFor(slots []tree.Slot, i int) (int, error) {
	w := l.wanted(slots, i)
	if slots != nil && slots[i].Boxes != nil {
		return boxBytes(slots[i].Boxes, w.DType.Size())
	}
	return region.NumBytes(w.Shape, w.DType.Size())
}

// memory returns the array that leaf number i is to be read into.
func (l *Leaf) memory(slots []tree.Slot, i int) (*array.Array, error) {
	if slots != nil && slots[i].Array != nil {
		return slots[i].Array, nil
	}
	w := l.wanted(slots, i)
	a, err := array.New(w.DType, w.Shape, nil)
	if err != nil {
		return nil, err
	}
	return a.WithSharding(w.Sharding), nil
}

// wanted describes the array that the slots want for leaf number i.
func (l *Leaf) wanted(slots []tree.Slot, i int) array.ShapeDtypeStruct {
	w := array.ShapeDtypeStruct{DType: l.meta.DType, Shape: l.meta.Shape, Sharding: l.Sharding()}
	if slots == nil {
		return w
	}
	s := &slots[i].Want
	if s.DType != array.Invalid {
		w.DType, w.Shape = s.DType, s.Shape
	}
	if s.Sharding != nil {
		w.Sharding = s.Sharding
	}
	return w
}

// into returns a request that fills a with the leaf, from the origin on; see intoBox.
func (l *Leaf) into(a *array.Array) request {
	return l.intoBox(a, make([]int, a.Rank()))
}

// intoBox returns a request that fills a with the box of the leaf at off. Elements of a
// outside the leaf become zero.
func (l *Leaf) intoBox(a *array.Array, off []int) request {
	shape := a.Shape()
	size := make([]int, len(shape))
	padded := false
	for i, d := range l.meta.Shape {
		size[i] = max(0, min(d-off[i], shape[i]))
		padded = padded || shape[i] > size[i]
	}
	if padded {
		clear(a.Bytes())
	}
	return request{
		leaf: l, off: off, size: size,
		dst: a.Bytes(), dtype: a.DType(), dstShape: shape, dstOff: origin(len(shape)),
	}
}

// valueOf returns the Go value of a leaf whose elements are in a.
func (l *Leaf) valueOf(a *array.Array) (any, error) {
	switch l.meta.Kind {
	case tree.KindBytes:
		if a.DType() != l.meta.DType || !slices.Equal(a.Shape(), l.meta.Shape) {
			return a, nil // the target wants another array
		}
		return a.Bytes(), nil
	case tree.KindScalar:
		return scalarValue(a), nil
	case tree.KindArray:
	default:
		return l.value, nil
	}
	if l.meta.PRNGImpl == "" {
		return a, nil
	}
	on := a.Sharding()
	key, err := array.PRNGKey(l.meta.PRNGImpl, a)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", fault.ErrCorrupt, err)
	}
	return key.WithSharding(on), nil
}

// scalarValue returns the element of an array of rank 0. An int64 becomes an int, as most
// trees have it. An element whose dtype Go lacks stays an array.
func scalarValue(a *array.Array) any {
	v, ok := a.Item()
	if !ok {
		return a
	}
	if n, ok := v.(int64); ok && int64(int(n)) == n {
		return int(n)
	}
	return v
}
