package view

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/go-orbax/orbax/internal/region"
)

// comparable reports whether the elements of the pair can be compared.
func (p *pair) comparable() bool {
	return p.a != nil && p.b != nil && p.a.isArray() && p.b.isArray() && p.diff.In&(DiffersDType|DiffersShape) == 0
}

// pairBox is one box in both leaves of a pair.
type pairBox struct {
	a, b box
	pair *pair
}

// diffValues compares the elements of all comparable pairs.
func diffValues(ctx context.Context, pairs []*pair, o *DiffOptions) error {
	var failed error
	boxes := func(yield func(pairBox) bool) {
		for _, p := range pairs {
			if p.comparable() {
				if failed = p.boxes(ctx, yield); failed != nil {
					return
				}
			}
		}
	}
	need := func(b *pairBox) (int, bool) { return b.a.bytes + b.b.bytes, b.a.whole }
	err := eachBlock(ctx, gather(boxes, need), func(ctx context.Context, boxes []pairBox, memory []byte) error {
		a, b := make([]box, len(boxes)), make([]box, len(boxes))
		for i := range boxes {
			a[i], b[i] = boxes[i].a, boxes[i].b
		}
		dataA, memory, err := readBoxes(ctx, memory, a)
		if err != nil {
			return sided(false, err)
		}
		dataB, _, err := readBoxes(ctx, memory, b)
		if err != nil {
			return sided(true, err)
		}
		for i := range boxes {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := boxes[i].compare(dataA[i], dataB[i], o); err != nil {
				return err
			}
		}
		return nil
	})
	return cmp.Or(err, failed)
}

// boxes yields the boxes of a pair of arrays.
func (p *pair) boxes(ctx context.Context, yield func(pairBox) bool) error {
	for _, l := range []*Leaf{p.a, p.b} {
		if n, err := l.bytes(); err != nil || n == 0 {
			return sided(l == p.b, err)
		}
	}
	a, err := p.a.settled(ctx)
	if err != nil {
		return sided(false, err)
	}
	b, err := p.b.settled(ctx)
	if err != nil {
		return sided(true, err)
	}
	shape, itemA, itemB := a.meta.Shape, a.meta.DType.Size(), b.meta.DType.Size()
	chunkA, chunkB := a.chunks(), b.chunks()
	limit := max(window(chunkA, 2*itemA), window(chunkB, 2*itemB))
	size := blockSize(shape, joint(chunkA, chunkB, shape), itemA+itemB, limit)
	for off, n := range boxesOf(shape, size) {
		x := box{leaf: a, off: off, size: n, whole: slices.Equal(n, shape)}
		y := x
		y.leaf = b
		x.bytes, _ = region.NumBytes(n, itemA)
		y.bytes, _ = region.NumBytes(n, itemB)
		if !yield(pairBox{x, y, p}) {
			return errStop
		}
	}
	return nil
}

// joint returns the smallest box that consists of whole chunks in two grids of one array.
func joint(a, b, shape []int) []int {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	size := make([]int, len(shape))
	for i, d := range shape {
		x, y := a[i], b[i]
		for y != 0 {
			x, y = y, x%y
		}
		if a[i]/x > math.MaxInt/b[i] {
			size[i] = d
		} else {
			size[i] = min(d, a[i]/x*b[i])
		}
	}
	return size
}

// compare adds the differences in the box to those of the pair.
func (b *pairBox) compare(dataA, dataB []byte, o *DiffOptions) error {
	da, db := b.a.leaf.meta.DType, b.b.leaf.meta.DType
	c := comparer{a: dataA, b: dataB, dtypeA: da, dtypeB: db, options: o}
	if b.pair.a.meta.PRNGImpl != "" {
		c.options = &DiffOptions{} // tolerances do not apply to keys
	}
	found, err := c.run()
	if err != nil || found.count == 0 {
		return err
	}
	first := slices.Clone(b.a.off)
	for i, at := len(first)-1, found.first; i >= 0; i-- {
		first[i] += at % b.a.size[i]
		at /= b.a.size[i]
	}
	valueA, err := elementAt(dataA, da, found.first)
	if err != nil {
		return err
	}
	valueB, err := elementAt(dataB, db, found.first)
	if err != nil {
		return err
	}

	p := b.pair
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.diff.Values
	if v == nil {
		elements := b.a.leaf.meta.Bytes / int64(da.Size())
		v = &ValuesDiff{Elements: int(elements), First: first, A: valueA, B: valueB}
		p.diff.Values = v
		p.diff.In |= DiffersValues
	}
	if slices.Compare(first, v.First) < 0 {
		v.First, v.A, v.B = first, valueA, valueB
	}
	v.Count += found.count
	v.MaxAbs, v.MaxRel = max(v.MaxAbs, found.maxAbs), max(v.MaxRel, found.maxRel)
	return nil
}
