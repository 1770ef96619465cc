package view

import (
	"errors"
	"fmt"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/region"
	"github.com/go-orbax/orbax/internal/strided"
	"github.com/go-orbax/orbax/tree"
)

// At returns the same leaf at another path.
func (l *Leaf) At(path tree.Path) *Leaf {
	c := *l
	c.meta.Path = path
	return &c
}

// These are Orbax's names of the kinds of arrays.
const (
	jaxArray   = "jax.Array"
	numpyArray = "np.ndarray"
)

// derived describes an array that is made of stored ones.
func derived(path tree.Path, d array.DType, shape []int) (LeafMetadata, error) {
	if d.Size() == 0 {
		return LeafMetadata{}, fault.OfLeaf(path.String(), fmt.Errorf("%w: there are no elements of the dtype %v", fault.ErrDType, d))
	}
	n, err := region.NumBytes(shape, d.Size())
	if err != nil {
		return LeafMetadata{}, fault.OfLeaf(path.String(), err)
	}
	return LeafMetadata{
		Path: path, Kind: tree.KindArray, ValueType: numpyArray,
		DType: d, Shape: slices.Clone(shape), Bytes: int64(n),
	}, nil
}

func (l *Leaf) notArray() error {
	return l.wrap(fmt.Errorf("%w: it is %v, not an array", fault.ErrLeafType, l.meta.Spec()))
}

// Cast returns the leaf with its elements converted to d. [array.Convert] has the rules,
// also for elements out of range. PRNG keys and leaves without elements are refused.
func (l *Leaf) Cast(d array.DType) (*Leaf, error) {
	if b := brokenOf(l.meta.Path, l); b != nil {
		return b, nil
	}
	switch {
	case !l.isArray():
		return nil, l.notArray()
	case d == l.meta.DType:
		return l, nil
	case l.meta.PRNGImpl != "":
		return nil, l.wrap(fmt.Errorf("%w: cannot cast %s keys to %v", fault.ErrDType, l.meta.PRNGImpl, d))
	}
	m, err := derived(l.meta.Path, d, l.meta.Shape)
	if err != nil {
		return nil, err
	}
	if l.meta.Kind == tree.KindScalar {
		m.Kind = l.meta.Kind
	}
	m.ValueType, m.Sharding, m.lostSharding = l.meta.ValueType, l.meta.Sharding, l.meta.lostSharding
	pieces := slices.Clone(l.pieces)
	for i := range pieces {
		pieces[i].casts = append(slices.Clip(pieces[i].casts), d)
	}
	return &Leaf{meta: m, pieces: pieces, homes: l.homes}, nil
}

// Slice returns the elements start, start+step and so on, up to but not including stop,
// along an axis.
func (l *Leaf) Slice(axis, start, stop, step int) (*Leaf, error) {
	if b := brokenOf(l.meta.Path, l); b != nil {
		return b, nil
	}
	if err := l.checkAxis(axis); err != nil {
		return nil, err
	}
	if err := region.CheckSlice(l.meta.Shape, axis, start, stop, step); err != nil {
		return nil, l.wrap(err)
	}
	step = min(step, max(1, l.meta.Shape[axis])) // a larger step takes the first element too, but could overflow
	shape := slices.Clone(l.meta.Shape)
	shape[axis] = (stop - start + step - 1) / step
	var pieces []piece
	for _, p := range l.pieces {
		// The first and last of the wanted elements that lie in the piece.
		from, end := p.at[axis], p.at[axis]+p.view.Shape()[axis]
		k := max(0, (from-start+step-1)/step)
		first, last := start+k*step, min(stop, end)
		if first >= last {
			continue
		}
		v, err := p.view.Slice(axis, first-from, last-from, step)
		if err != nil {
			return nil, l.wrap(err)
		}
		p.view, p.at = v, slices.Clone(p.at)
		p.at[axis] = k
		pieces = append(pieces, p)
	}
	return l.remade(shape, pieces)
}

// Index returns element i along an axis. The result does not have that axis.
func (l *Leaf) Index(axis, i int) (*Leaf, error) {
	if b := brokenOf(l.meta.Path, l); b != nil {
		return b, nil
	}
	if err := l.checkAxis(axis); err != nil {
		return nil, err
	}
	if err := region.CheckIndex(l.meta.Shape, axis, i); err != nil {
		return nil, l.wrap(err)
	}
	one, err := l.Slice(axis, i, i+1, 1)
	if err != nil {
		return nil, err
	}
	return one.eachPiece(slices.Delete(slices.Clone(one.meta.Shape), axis, axis+1), func(p *piece) (err error) {
		p.at = slices.Delete(slices.Clone(p.at), axis, axis+1)
		p.view, err = p.view.Index(axis, 0)
		return err
	})
}

// Transpose returns the array with its axes in another order. Axis k of the result is
// axis perm[k] of the leaf. Without perm the order of the axes is reversed.
func (l *Leaf) Transpose(perm ...int) (*Leaf, error) {
	if b := brokenOf(l.meta.Path, l); b != nil {
		return b, nil
	}
	if !l.isArray() {
		return nil, l.notArray()
	}
	if err := l.notKeys(); err != nil {
		return nil, err
	}
	rank := len(l.meta.Shape)
	if len(perm) == 0 {
		for i := range rank {
			perm = append(perm, rank-1-i)
		}
	}
	if err := region.CheckOrder(l.meta.Shape, perm); err != nil {
		return nil, l.wrap(err)
	}
	pick := func(of []int) []int {
		out := make([]int, rank)
		for i, x := range perm {
			out[i] = of[x]
		}
		return out
	}
	return l.eachPiece(pick(l.meta.Shape), func(p *piece) (err error) {
		p.at = pick(p.at)
		p.view, err = p.view.Transpose(perm...)
		return err
	})
}

// Reshape returns the array with another shape and the same elements in row-major order.
// One dimension may be -1: its size follows from the others. Reshape makes no copy. It
// refuses transposed arrays where NumPy would copy them, with an error that matches
// orbax.ErrShape, and arrays that were joined from several, with an error that matches
// orbax.ErrUnsupported.
func (l *Leaf) Reshape(shape ...int) (*Leaf, error) {
	if b := brokenOf(l.meta.Path, l); b != nil {
		return b, nil
	}
	if !l.isArray() {
		return nil, l.notArray()
	}
	if err := l.notKeys(); err != nil {
		return nil, err
	}
	if len(l.pieces) > 1 {
		return nil, l.wrap(fmt.Errorf("%w: reshaping %d joined arrays; reshape them before they are joined", fault.ErrUnsupported, len(l.pieces)))
	}
	if len(l.pieces) == 0 {
		empty, err := strided.Of(l.meta.Shape)
		if err == nil {
			empty, err = empty.Reshape(shape...)
		}
		if err != nil {
			return nil, l.wrap(err)
		}
		return l.remade(empty.Shape(), nil)
	}
	p := l.pieces[0]
	var err error
	if p.view, err = p.view.Reshape(shape...); err != nil {
		return nil, l.wrap(err)
	}
	p.at = make([]int, len(p.view.Shape()))
	return l.remade(p.view.Shape(), []piece{p})
}

// Concat joins arrays along an axis. They must have one dtype, and their shapes may
// differ along that axis only.
func Concat(path tree.Path, axis int, leaves ...*Leaf) (*Leaf, error) {
	if b := brokenOf(path, leaves...); b != nil {
		return b, nil
	}
	if len(leaves) == 0 {
		return nil, fault.OfLeaf(path.String(), fmt.Errorf("%w: nothing to join", fault.ErrStructure))
	}
	first := leaves[0]
	if err := first.checkAxis(axis); err != nil {
		return nil, err
	}
	shape := slices.Clone(first.meta.Shape)
	shape[axis] = 0
	var pieces []piece
	var errs []error
	for _, l := range leaves {
		same := l.isArray() && l.meta.DType == first.meta.DType && l.meta.PRNGImpl == first.meta.PRNGImpl && len(l.meta.Shape) == len(shape)
		for i := 0; same && i < len(shape); i++ {
			same = i == axis || l.meta.Shape[i] == shape[i]
		}
		if !same {
			errs = append(errs, l.wrap(fmt.Errorf("%w: %v cannot be joined along axis %d with %v of %q",
				fault.ErrShape, l.meta.Spec(), axis, first.meta.Spec(), first.meta.Path.String())))
			continue
		}
		for _, p := range l.pieces {
			p.at = slices.Clone(p.at)
			p.at[axis] += shape[axis]
			pieces = append(pieces, p)
		}
		shape[axis] += l.meta.Shape[axis]
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	joined, err := first.remade(shape, pieces)
	if err != nil {
		return nil, err
	}
	return joined.At(path).madeOf(leaves...), nil
}

// Stack joins arrays of one dtype and shape along a new axis.
func Stack(path tree.Path, axis int, leaves ...*Leaf) (*Leaf, error) {
	if b := brokenOf(path, leaves...); b != nil {
		return b, nil
	}
	grown := make([]*Leaf, len(leaves))
	for i, l := range leaves {
		if !l.isArray() {
			return nil, l.notArray()
		}
		if axis < 0 || axis > len(l.meta.Shape) {
			return nil, l.wrap(fmt.Errorf("%w: the new axis cannot be %d: in %v it can be 0 to %d", fault.ErrShape, axis, l.meta.Shape, len(l.meta.Shape)))
		}
		var err error
		grown[i], err = l.eachPiece(slices.Insert(slices.Clone(l.meta.Shape), axis, 1), func(p *piece) (err error) {
			p.at = slices.Insert(slices.Clone(p.at), axis, 0)
			p.view, err = p.view.Reshape(slices.Insert(p.view.Shape(), axis, 1)...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return Concat(path, axis, grown...)
}

func (l *Leaf) checkAxis(axis int) error {
	if !l.isArray() {
		return l.notArray()
	}
	if err := region.CheckAxis(l.meta.Shape, axis); err != nil {
		return l.wrap(err)
	}
	if axis == len(l.meta.Shape)-1 {
		return l.notKeys()
	}
	return nil
}

// notKeys refuses operations that would divide the data of a PRNG key.
func (l *Leaf) notKeys() error {
	if l.meta.PRNGImpl == "" {
		return nil
	}
	return l.wrap(fmt.Errorf("%w: the last axis of %s keys is one key", fault.ErrDType, l.meta.PRNGImpl))
}

// eachPiece returns the leaf with another shape and every piece changed by f.
func (l *Leaf) eachPiece(shape []int, f func(*piece) error) (*Leaf, error) {
	pieces := slices.Clone(l.pieces)
	for i := range pieces {
		if err := f(&pieces[i]); err != nil {
			return nil, l.wrap(err)
		}
	}
	return l.remade(shape, pieces)
}

// remade returns an array of the leaf's path and dtype that consists of pieces.
func (l *Leaf) remade(shape []int, pieces []piece) (*Leaf, error) {
	m, err := derived(l.meta.Path, l.meta.DType, shape)
	if err != nil {
		return nil, err
	}
	if l.meta.PRNGImpl != "" {
		m.ValueType, m.PRNGImpl = l.meta.ValueType, l.meta.PRNGImpl
	}
	return &Leaf{meta: m, pieces: pieces, homes: l.homes}, nil
}
