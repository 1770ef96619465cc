package pytree

import (
	"cmp"
	"context"
	"fmt"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// leaves describes all leaves. A leaf that cannot be read has the reason in its metadata.
func (o *opener) leaves(ctx context.Context) ([]*view.Leaf, error) {
	names := make([]string, len(o.meta.Leaves))
	for i, l := range o.meta.Leaves {
		names[i] = l.Path.String()
	}
	format := 2
	if o.meta.Zarr3 {
		format = 3
	}
	if err := o.readAhead(ctx, names, format); err != nil {
		return nil, err
	}
	leaves := make([]*view.Leaf, len(names))
	err := o.each(len(names), func(i int) { leaves[i] = o.leaf(ctx, o.meta.Leaves[i], names[i], format) })
	if err := cmp.Or(err, ctx.Err()); err != nil {
		return nil, err
	}
	for i := range names[min(1, len(names)):] {
		if names[i] >= names[i+1] { // otherwise all names differ
			o.breakEqual(names, leaves)
			break
		}
	}
	return leaves, nil
}

// breakEqual breaks the leaves that are stored under equal names. One of them has
// replaced the others, and nothing shows which.
func (o *opener) breakEqual(names []string, leaves []*view.Leaf) {
	// Arrays and strings are stored separately, and empty nodes are not stored.
	type key struct {
		name string
		text bool
	}
	taken := make(map[key]int, len(leaves))
	for i, l := range leaves {
		kind := l.Metadata().Kind
		if kind == tree.KindEmpty || o.aggregate.find(l.Metadata().Path) != nil {
			continue
		}
		at := key{names[i], kind == tree.KindString}
		if first, ok := taken[at]; ok {
			err := fmt.Errorf("%w: %w: two leaves have this name and were stored in one place; only the value of one is left", fault.ErrCorrupt, fault.ErrKeyCollision)
			for _, n := range []int{first, i} {
				leaves[n] = view.NewBroken(*leaves[n].Metadata(), err)
			}
			continue
		}
		taken[at] = i
	}
}

// atOnce is the number of leaves that are looked for at the same time, if that takes
// reading files.
const atOnce = 16

// each calls find for each of n leaves.
func (o *opener) each(n int, find func(i int)) error {
	if o.ocdbt {
		for i := range n {
			find(i)
		}
		return nil
	}
	var group parallel.Group
	group.SetLimit(transfer.AtOnce(o.properties(), atOnce))
	for i := range n {
		group.Go(func() error {
			find(i)
			return nil
		})
	}
	return group.Wait()
}

// leaf describes one leaf. It returns a broken leaf if the leaf cannot be read.
func (o *opener) leaf(ctx context.Context, l layout.TreeLeaf, name string, format int) *view.Leaf {
	m := view.LeafMetadata{Path: l.Path, ValueType: string(l.ValueType)}
	leaf, err := o.findLeaf(ctx, l, name, format, &m)
	if err != nil {
		return view.NewBroken(m, err)
	}
	return leaf
}

// findLeaf finds the stored parts of a leaf, and completes m as far as possible.
func (o *opener) findLeaf(ctx context.Context, l layout.TreeLeaf, name string, format int, m *view.LeafMetadata) (*view.Leaf, error) {
	found := o.aggregate.find(l.Path)
	switch {
	case found != nil:
		return o.aggregate.leaf(found, m)
	case l.Empty:
		var err error
		m.Empty, err = emptyOf(l.ValueType)
		return view.NewEmpty(*m), err
	case l.ValueType == layout.String:
		text, ok := "", false
		if o.strings != nil {
			text, ok = o.strings.Get(name)
		}
		if !ok {
			return nil, cmp.Or(o.stringsErr, fmt.Errorf("%w: no string in %s", fault.ErrCorrupt, layout.StringsFile))
		}
		return view.NewString(*m, text), nil
	}
	a, err := o.findArray(ctx, name, format)
	if err := cmp.Or(a.Describe(m), err); err != nil {
		return nil, err
	}
	switch {
	case l.ValueType == layout.JaxArray:
		m.WriteShape = l.WriteShape
		m.PRNGImpl = o.arrays[name].PRNGImpl
		if o.keysUnnamed {
			m.PRNGImpl = keyImpl(m.Shape)
		}
		m.Sharding = o.shardings[name]
		if o.arraysErr != nil && m.DType == array.Uint32 { // the data of PRNG keys has this dtype
			return nil, fmt.Errorf("it is not known whether this is a PRNG key: %w", o.arraysErr)
		}
	case l.ValueType == layout.Scalar || l.GoType == layout.GoComplex64 || l.GoType == layout.GoComplex128:
		m.Kind = tree.KindScalar
		if len(m.Shape) != 0 {
			return nil, fmt.Errorf("%w: a scalar of shape %v", fault.ErrCorrupt, m.Shape)
		}
	case l.GoType == layout.GoBytes && m.DType == array.Uint8 && len(m.Shape) == 1:
		m.Kind = tree.KindBytes
	}
	return view.NewArray(*m, a)
}

func emptyOf(t layout.ValueType) (tree.Empty, error) {
	switch t {
	case layout.NoneNode:
		return tree.None, nil
	case layout.DictNode, "NamedTuple":
		return tree.EmptyDict, nil
	case layout.ListNode:
		return tree.EmptyList, nil
	case layout.TupleNode:
		return tree.EmptyTuple, nil
	}
	if t.IsValue() {
		return 0, fmt.Errorf("%w: its value is missing in the file %s", fault.ErrCorrupt, layout.AggregateFile)
	}
	return 0, fmt.Errorf("%w: empty node of type %q", fault.ErrUnsupported, t)
}
