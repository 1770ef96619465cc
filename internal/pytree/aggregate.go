package pytree

import (
	"context"
	"fmt"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/flax"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/lfs"
	"github.com/go-orbax/orbax/internal/rawarray"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// aggregate is a MessagePack file with leaves of a pytree. Either Orbax wrote it and
// gathered in it the leaves that were to be aggregated, with placeholders for the others,
// or Flax wrote it with all leaves. A nil *aggregate has no leaves.
type aggregate struct {
	dir    *view.Dir
	file   string
	leaves []flax.Leaf
	byPath map[string]*flax.Leaf // without placeholders
}

// HasAggregate reports whether a directory has the file in which Orbax gathers leaves. A
// text file of TensorFlow with the same name does not count.
func HasAggregate(ctx context.Context, at storage.Location) (bool, error) {
	info, err := at.Join(layout.AggregateFile).Stat(ctx)
	if ckdir.NotExist(err) || err == nil && info.Dir {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	first, err := transfer.ReadFile(ctx, at, layout.AggregateFile, 0, min(info.Size, lfs.MaxSize-1))
	if ckdir.NotExist(err) {
		return false, nil // removed meanwhile
	}
	if err != nil || len(first) == 0 || first[0] < 0x80 { // not a container, and not an array
		return false, err
	}
	return true, nil
}

// readAggregate reads the file with aggregated leaves in dir. It returns nil if there is
// none, or if the file was added to a checkpoint of this package.
func readAggregate(ctx context.Context, dir *ckdir.ReadDir) (*aggregate, error) {
	if dir.Covered(layout.TreeFile) {
		return nil, nil
	}
	ok, err := HasAggregate(ctx, dir.At())
	if err != nil || !ok {
		return nil, err
	}
	return readFlax(ctx, dir, dir.At(), layout.AggregateFile)
}

// readFlax reads the tree in the file name of the directory at.
func readFlax(ctx context.Context, dir *ckdir.ReadDir, at storage.Location, name string) (*aggregate, error) {
	file, err := rawarray.Open(ctx, dir, at, name)
	if err != nil {
		return nil, err
	}
	f, err := transfer.Open(ctx, at, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	a := &aggregate{dir: file, file: name}
	a.leaves, err = flax.Read(ctx, f)
	if err := file.Unchanged(ctx, err); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	a.byPath = make(map[string]*flax.Leaf, len(a.leaves))
	for i := range a.leaves {
		if l := &a.leaves[i]; !l.IsPlaceholder() {
			a.byPath[l.Path.ID()] = l
		}
	}
	return a, nil
}

// find returns the leaf at p. It returns nil if the leaf's value is not in the file.
func (a *aggregate) find(p tree.Path) *flax.Leaf {
	if a == nil {
		return nil
	}
	return a.byPath[p.ID()]
}

// describe returns the metadata of a tree for which there is only the file.
func (a *aggregate) describe() *layout.TreeMetadata {
	m := &layout.TreeMetadata{Sparse: true, Leaves: make([]layout.TreeLeaf, len(a.leaves))}
	for i, l := range a.leaves {
		m.Leaves[i] = layout.TreeLeaf{Path: l.Path, ValueType: layout.NumPyArray}
	}
	return m
}

// leaf returns the leaf l, whose path is in m, and completes m as far as possible.
func (a *aggregate) leaf(l *flax.Leaf, m *view.LeafMetadata) (*view.Leaf, error) {
	*m = view.LeafMetadata{Path: m.Path, Kind: l.Kind}
	switch {
	case l.Err != nil:
		return nil, fmt.Errorf("%s: %w", a.file, l.Err)
	case l.Kind == tree.KindEmpty:
		m.Empty = l.Value.(tree.Empty)
		m.ValueType = m.Empty.String()
		return view.NewEmpty(*m), nil
	case l.Kind == tree.KindString:
		m.ValueType = string(layout.String)
		return view.NewString(*m, l.Value.(string)), nil
	}
	m.ValueType, m.Codecs = string(layout.NumPyArray), "raw"
	if l.Array == nil {
		s := array.ScalarOf(l.Value)
		m.DType, m.Bytes = s.DType(), int64(len(s.Bytes()))
		m.StoredBytes = m.Bytes
		setScalar(m)
		return view.NewArray(*m, &knownArray{rawarray.Form{DType: s.DType()}, s.Bytes()})
	}
	m.DType, m.Shape = l.Array.DType, l.Array.Shape
	for _, r := range l.Array.Runs {
		m.Bytes += r.Length
	}
	m.StoredBytes = m.Bytes
	setScalar(m)
	return view.NewArray(*m, a.array(l.Array))
}

// setScalar changes the metadata of a scalar to the form in which this package would save
// it. Orbax has no value type for complex numbers, and Go has no numbers of some dtypes;
// such scalars are arrays.
func setScalar(m *view.LeafMetadata) {
	if m.Kind != tree.KindScalar {
		return
	}
	zero, err := array.New(m.DType, nil, nil)
	if err != nil {
		return
	}
	if _, ok := zero.Item(); !ok {
		m.Kind = tree.KindArray
	} else if !m.DType.IsComplex() {
		m.ValueType = string(layout.Scalar)
	}
}

func (a *aggregate) array(in *flax.Array) view.Array {
	raw := func(r flax.Run, shape []int) *rawarray.Array {
		return &rawarray.Array{Form: rawarray.Form{DType: in.DType}, Shape: shape, Dir: a.dir, File: a.file, At: r.At, Length: r.Length}
	}
	if len(in.Runs) == 1 {
		return raw(in.Runs[0], in.Shape)
	}
	all := &rawarray.Joined{Rank: len(in.Shape)}
	first := 0 // first element of a run
	for _, r := range in.Runs {
		n := int(r.Length) / in.DType.Size()
		for _, b := range rawarray.BoxesOf(in.Shape, first, n) {
			length := int64(b.Elements()) * int64(in.DType.Size())
			all.Boxes = append(all.Boxes, rawarray.JoinedBox{Box: b, Stored: raw(flax.Run{At: r.At, Length: length}, b.Size)})
			r.At += length
		}
		first += n
	}
	return all
}

// openFlaxFile opens the file at dir's path if Flax wrote it.
func openFlaxFile(ctx context.Context, dir *ckdir.ReadDir) (*stored, error) {
	if dir.Name() != "" || !flax.IsFile(ctx, dir.At()) {
		return nil, nil
	}
	a, err := readFlax(ctx, dir, dir.At().Dir(), dir.At().Base())
	if err != nil {
		return nil, err
	}
	for i := range a.leaves {
		if l := &a.leaves[i]; l.IsPlaceholder() {
			l.Err = fmt.Errorf("%w: its array is not in this file, but beside it; give the path of the directory", fault.ErrInvalidCheckpoint)
			a.byPath[l.Path.ID()] = l
		}
	}
	o := newOpener(dir, Options{})
	o.aggregate, o.meta = a, a.describe()
	return o.tree(ctx)
}

// openAggregate opens a pytree that only the file with aggregated leaves describes. It
// returns nil if there is no such file.
func openAggregate(ctx context.Context, dir *ckdir.ReadDir, options Options) (*stored, error) {
	a, err := readAggregate(ctx, dir)
	if err != nil || a == nil {
		return nil, err
	}
	o := newOpener(dir, options)
	o.aggregate, o.meta = a, a.describe()
	if err := o.openStore(ctx); err != nil {
		return nil, err
	}
	return o.tree(ctx)
}

// aggregated reports whether all leaves with values are in the aggregate.
func (o *opener) aggregated() bool {
	return !slices.ContainsFunc(o.meta.Leaves, func(l layout.TreeLeaf) bool {
		return !l.Empty && o.aggregate.find(l.Path) == nil
	})
}
