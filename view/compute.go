package view

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

// Compute returns a leaf of the given dtype and shape whose array f computes from other
// leaves. f runs whenever the leaf is read, with the arrays of all args in memory.
func Compute(path tree.Path, d array.DType, shape []int, f func(ctx context.Context, args []*array.Array) (*array.Array, error), args ...*Leaf) (*Leaf, error) {
	if b := brokenOf(path, args...); b != nil {
		return b, nil
	}
	for _, a := range args {
		if !a.isArray() {
			return nil, a.notArray()
		}
	}
	m, err := derived(path, d, shape)
	if err != nil {
		return nil, err
	}
	l, err := NewArray(m, &computed{m.DType, m.Shape, f, slices.Clone(args)})
	if err != nil {
		return nil, err
	}
	return l.madeOf(args...), nil
}

// computed is an array that a function computes from others when it is read.
type computed struct {
	dtype array.DType
	shape []int
	f     func(ctx context.Context, args []*array.Array) (*array.Array, error)
	args  []*Leaf
}

// Chunks calls the function to make the array.
func (c *computed) Chunks(ctx context.Context, off, size []int) iter.Seq2[*Chunk, error] {
	return func(yield func(*Chunk, error) bool) {
		a, err := c.array(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		(&reading{a}).Chunks(ctx, off, size)(yield)
	}
}

func (c *computed) array(ctx context.Context) (*array.Array, error) {
	args := make([]*array.Array, len(c.args))
	if err := readArrays(ctx, c.args, nil, args, nil); err != nil {
		return nil, err
	}
	a, err := c.f(ctx, args)
	if err == nil && (a == nil || a.DType() != c.dtype || !slices.Equal(a.Shape(), c.shape)) {
		err = fmt.Errorf("%w: the function returned %v, not %v%v", fault.ErrStructure, a, c.dtype, c.shape)
	}
	return a, err
}

// settled returns the leaf with the computed arrays in memory in place of the functions,
// so that reading the leaf in boxes calls each function once.
func (l *Leaf) settled(ctx context.Context) (*Leaf, error) {
	settled := *l
	settled.pieces = slices.Clone(l.pieces)
	made := map[*computed]*reading{}
	for i := range settled.pieces {
		c, ok := settled.pieces[i].array.(*computed)
		if !ok {
			continue
		}
		if made[c] == nil {
			a, err := c.array(ctx)
			if err != nil {
				return nil, l.wrap(err)
			}
			made[c] = &reading{a}
		}
		settled.pieces[i].array = made[c]
	}
	return &settled, nil
}
