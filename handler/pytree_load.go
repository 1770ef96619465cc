package handler

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
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

// LoadInto reads the tree into target: see tree.Bind. After an error the
// contents of arrays in target are unspecified.
func (t *Tree) LoadInto(ctx context.Context, target any, adapters ...tree.Adapter) error {
	specs := make([]tree.Spec, len(t.leaves))
	for i := range t.leaves {
		specs[i] = t.leaves[i].Spec()
	}
	slots, finish, err := tree.Bind(target, specs, adapters...)
	if err != nil {
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

// LoadLeaf reads the leaf with the given path, keys joined with dots.
func (t *Tree) LoadLeaf(ctx context.Context, leaf string) (any, error) {
	i := slices.IndexFunc(t.leaves, func(l storedLeaf) bool { return l.Path.String() == leaf })
	if i < 0 {
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
	if err := transfer.ReadAll(ctx, t.dir.store, t.dir.path(), reads); err != nil {
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

// plan appends the reads that bring the leaf's chunks into dst, the memory of
// the whole array. Inline chunks are decoded at once.
func (l *storedLeaf) plan(reads []transfer.Read, dst []byte) ([]transfer.Read, error) {
	next := 0
	name := l.Path.String()
	for index := range l.zarr.Chunks() {
		c := l.chunks[next]
		next++
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

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// planDirect plans the read of a chunk whose stored bytes are the array's own,
// in one run: straight into place, checked on the way. It reports false for
// other chunks.
func planDirect(r *transfer.Read, m *zarr.Metadata, index []int, dst []byte) bool {
	crc, raw := m.Raw()
	if m.DType == array.Bool && !crc {
		return false // a byte that is neither 0 nor 1 is damage
	}
	off, size := m.ChunkRegion(index)
	first, n, run := contiguous(m.Shape, off, size)
	// At the array's edge the rest of the chunk is padding, which must lie
	// behind the run.
	if !raw || !run || !slices.Equal(size[min(1, len(size)):], m.ChunkShape[min(1, len(size)):]) {
		return false
	}
	item := m.DType.Size()
	r.Dst = dst[first*item:][:n*item]
	var sum uint32
	if crc {
		r.Step = func(piece []byte) { sum = crc32.Update(sum, castagnoli, piece) }
	}
	r.Done = func(rest []byte) error {
		if crc {
			pad, want := rest[:len(rest)-4], binary.LittleEndian.Uint32(rest[len(rest)-4:])
			if got := crc32.Update(sum, castagnoli, pad); got != want {
				return fmt.Errorf("%w: chunk %s: CRC-32C is %08x, stored %08x", fault.ErrCorrupt, m.Key(index), got, want)
			}
		}
		return canonical(m, index, r.Dst)
	}
	return true
}

// canonical gives elements that were read as they are stored the form that
// package array wants. A bool that is neither 0 nor 1 is an error, as it is to
// TensorStore.
func canonical(m *zarr.Metadata, index []int, data []byte) error {
	if m.DType == array.Bool {
		if i := slices.IndexFunc(data, func(b byte) bool { return b > 1 }); i >= 0 {
			return fmt.Errorf("%w: chunk %s: a bool is %d", fault.ErrCorrupt, m.Key(index), data[i])
		}
	}
	array.Canonicalize(m.DType, data)
	return nil
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
	if err != nil {
		return fmt.Errorf("chunk %s: %w", m.Key(index), err)
	}
	return nil
}
