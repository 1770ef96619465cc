package handler

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/zarr"
)

// Load reads the tree as it was saved: see tree.Build.
func (t *Tree) Load(ctx context.Context) (any, error) {
	return t.load(ctx, nil, func(values []any) (any, error) {
		leaves := make([]tree.Leaf, len(values))
		for i, v := range values {
			leaves[i] = tree.Leaf{Path: t.leaves[i].Path, Value: v}
		}
		return tree.Build(leaves)
	})
}

// LoadInto reads the tree into target: see tree.Bind. An array that is filled in
// place keeps its own sharding, and must be a PRNG key if and only if the leaf
// is one. After an error the contents of arrays in target are unspecified.
func (t *Tree) LoadInto(ctx context.Context, target any, adapters ...tree.Adapter) error {
	specs := make([]tree.Spec, len(t.leaves))
	for i := range t.leaves {
		specs[i] = t.leaves[i].Spec()
	}
	slots, finish, err := tree.Bind(target, specs, adapters...)
	if err != nil {
		return err
	}
	if err := t.checkKeys(slots); err != nil {
		return err
	}
	_, err = t.load(ctx, slots, func(values []any) (any, error) {
		var errs []error
		for i, v := range values {
			switch {
			case slots[i].Set == nil: // an empty node
				continue
			case slots[i].Array != nil:
				v = slots[i].Array
			}
			if err := slots[i].Set(v); err != nil {
				errs = append(errs, err)
			}
		}
		if err := errors.Join(errs...); err != nil {
			return nil, err
		}
		return nil, finish()
	})
	return err
}

// checkKeys refuses to fill memory in place whose array would then say something
// else of the numbers than the checkpoint does.
func (t *Tree) checkKeys(slots []tree.Slot) error {
	var errs []error
	for i := range t.leaves {
		l := &t.leaves[i]
		if a := slots[i].Array; a != nil && a.PRNGImpl() != l.PRNGImpl {
			errs = append(errs, &fault.Leaf{Path: l.Path.String(), Err: fmt.Errorf(
				"%w: the checkpoint has %s, the target is %s; a nil *array.Array takes both",
				fault.ErrDType, keyKind(l.PRNGImpl), keyKind(a.PRNGImpl()))})
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

// LoadLeaf reads the leaf with the given path, keys joined with dots.
func (t *Tree) LoadLeaf(ctx context.Context, leaf string) (any, error) {
	i, ok := t.byName[leaf]
	if !ok {
		return nil, &fault.Leaf{Path: leaf, Err: fmt.Errorf("%w: the checkpoint has no such leaf", fault.ErrStructure)}
	}
	one := &Tree{dir: t.dir, leaves: t.leaves[i : i+1]}
	return one.load(ctx, nil, func(values []any) (any, error) { return values[0], nil })
}

// load reads every leaf, into the slot's array where it has one, and passes
// the values on in the order of the leaves.
func (t *Tree) load(ctx context.Context, slots []tree.Slot, use func([]any) (any, error)) (any, error) {
	arrays := make([]*array.Array, len(t.leaves))
	var reads []transfer.Read
	for i := range t.leaves {
		l := &t.leaves[i]
		if l.zarr == nil {
			continue
		}
		if slots != nil {
			arrays[i] = slots[i].Array
		}
		if arrays[i] == nil {
			a, err := array.New(l.DType, l.Shape, nil)
			if err != nil {
				return nil, &fault.Leaf{Path: l.Path.String(), Err: err}
			}
			arrays[i] = a
		}
		var err error
		if reads, err = l.plan(reads, arrays[i].Bytes()); err != nil {
			return nil, &fault.Leaf{Path: l.Path.String(), Err: err}
		}
	}
	if err := t.readAll(ctx, reads); err != nil {
		return nil, err
	}
	values := make([]any, len(t.leaves))
	for i := range t.leaves {
		v, err := t.leaves[i].value(arrays[i])
		if err != nil {
			return nil, &fault.Leaf{Path: t.leaves[i].Path.String(), Err: err}
		}
		values[i] = v
	}
	return use(values)
}

// value returns the Go value of a leaf whose data is in a.
func (l *storedLeaf) value(a *array.Array) (any, error) {
	switch l.Kind {
	case tree.KindEmpty:
		return l.Empty, nil
	case tree.KindString:
		return l.text, nil
	case tree.KindBytes:
		return a.Bytes(), nil
	case tree.KindScalar:
		return scalarValue(a), nil
	}
	if l.PRNGImpl != "" {
		key, err := array.PRNGKey(l.PRNGImpl, a)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", fault.ErrCorrupt, err)
		}
		a = key
	}
	if l.Sharding != nil {
		a = a.WithSharding(l.Sharding)
	}
	return a, nil
}

// scalarValue returns the element of an array of rank 0, an int64 as int, as it
// is in most trees. A dtype that no Go type has stays an array.
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

// plan appends the reads that bring the leaf's chunks into dst, the memory of
// the whole array. Inline chunks are decoded at once.
func (l *storedLeaf) plan(reads []transfer.Read, dst []byte) ([]transfer.Read, error) {
	name := l.Path.String()
	for index, c := range l.each() {
		if c.inline != nil {
			if err := decodeInto(l.zarr, index, dst, c.inline); err != nil {
				return nil, err
			}
			continue
		}
		r := transfer.Read{Leaf: name, Extent: c.extent}
		if !planDirect(&r, l.zarr, index, dst) {
			r.Done = func(enc []byte) error { return decodeInto(l.zarr, index, dst, enc) }
		}
		reads = append(reads, r)
	}
	return reads, nil
}

// planDirect plans the read of a chunk whose stored bytes are the array's own,
// in one run: straight into place, checked on the way. It reports false for
// other chunks.
func planDirect(r *transfer.Read, m *zarr.Metadata, index []int, dst []byte) bool {
	off, size := m.ChunkRegion(index)
	first, n, run := contiguous(m.Shape, off, size)
	direct, ok := m.Direct(index)
	if !run || !ok {
		return false
	}
	item := m.DType.Size()
	data := dst[first*item:][:n*item]
	r.Dst = data
	r.Step = direct.Step
	r.Done = func(rest []byte) error { return inChunk(m, index, direct.Done(data, rest)) }
	return true
}

// decodeInto decodes a chunk and copies the part that is array to its place.
func decodeInto(m *zarr.Metadata, index []int, dst, enc []byte) error {
	off, size := m.ChunkRegion(index)
	item := m.DType.Size()
	var err error
	if first, n, run := contiguous(m.Shape, off, size); run && slices.Equal(size, m.ChunkShape) {
		err = m.DecodeChunk(index, dst[first*item:][:n*item], enc)
	} else {
		err = withScratch(m.ChunkBytes(), func(buf []byte) error {
			if err := m.DecodeChunk(index, buf, enc); err != nil {
				return err
			}
			return array.CopyRegion(dst, m.Shape, off, buf, m.ChunkShape, make([]int, len(off)), size, item)
		})
	}
	return inChunk(m, index, err)
}

// readAll performs reads of the tree's files.
func (t *Tree) readAll(ctx context.Context, reads []transfer.Read) error {
	return t.dir.unchanged(ctx, transfer.ReadAll(ctx, t.dir.store, t.dir.path(), reads))
}
