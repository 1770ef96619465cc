package view

import (
	"context"
	"io"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/region"
	"github.com/go-orbax/orbax/internal/transfer"
)

// CopyTo writes the elements of arrays, row-major and little-endian, to w: the
// array of each leaf at the offset that place returns for it, if it reports
// true. It holds a few chunks in memory at a time, never a whole array. w is
// used by several goroutines.
func (t *Tree) CopyTo(ctx context.Context, w io.WriterAt, place func(*LeafMetadata) (int64, bool)) error {
	p := &planner{}
	for _, l := range t.leaves {
		if !l.isArray() {
			continue
		}
		base, ok := place(&l.meta)
		if !ok {
			continue
		}
		if err := l.planCopy(ctx, p, w, base); err != nil {
			return l.wrap(err)
		}
	}
	return p.run(ctx)
}

// planCopy plans to write the leaf to w. A leaf whose elements are in another
// order than they are stored in is written in rows instead of in chunks.
func (l *Leaf) planCopy(ctx context.Context, p *planner, w io.WriterAt, base int64) error {
	if len(l.pieces) != 1 || !l.pieces[0].view.Identity() {
		return l.eachRows(func(off, size []int, at int64, buf []byte) error {
			if err := l.ReadRegion(ctx, buf, off, size); err != nil {
				return err
			}
			_, err := w.WriteAt(buf, base+at)
			return err
		})
	}
	pc := &l.pieces[0]
	parts, err := pc.array.Parts(ctx, make([]int, len(l.meta.Shape)), l.meta.Shape)
	if err != nil {
		return err
	}
	for i := range parts {
		part := &parts[i]
		err := p.addPart(part, transfer.Read{Leaf: l.meta.Path.String(), Done: func(enc []byte) error {
			return part.describe(pc.withPart(part, enc, func(elements []byte, d array.DType) error {
				return region.EachRun(l.meta.Shape, part.Offset, part.Size, d.Size(), func(at int64, n int) error {
					_, err := w.WriteAt(elements[:n], base+at)
					elements = elements[n:]
					return err
				})
			}))
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// withPart calls f with the elements of a part, decoded and cast.
func (pc *piece) withPart(part *Part, enc []byte, f func([]byte, array.DType) error) error {
	n, err := array.NumElements(part.Size)
	if err != nil {
		return err
	}
	return transfer.WithScratch(n*pc.dtype.Size(), func(buf []byte) error {
		if err := part.Form.Decode(part, buf, enc); err != nil {
			return err
		}
		return withCasts(buf, pc.dtype, pc.casts, f)
	})
}

// rowBytes is about what eachRows takes at a time.
const rowBytes = 8 << 20

// eachRows divides an array into runs of its leading axes and calls f for each of
// them, in order: its box, its place in bytes, and memory for it, which is the
// same each time.
func (l *Leaf) eachRows(f func(off, size []int, at int64, buf []byte) error) error {
	shape, item := l.meta.Shape, l.meta.DType.Size()
	if n, err := array.NumElements(shape); err != nil || n == 0 {
		return err
	}
	// Axis by axis from the last: whole ones as long as they fit, then a part.
	size, run, axis := make([]int, len(shape)), item, len(shape)
	for axis > 0 && run*shape[axis-1] <= rowBytes {
		axis--
		size[axis] = shape[axis]
		run *= shape[axis]
	}
	if axis > 0 {
		axis--
		size[axis] = max(1, rowBytes/run)
		run *= size[axis]
		for i := range axis {
			size[i] = 1
		}
	}
	buf := make([]byte, run)
	off, at := make([]int, len(shape)), int64(0)
	for {
		box := make([]int, len(shape))
		n := item
		for i := range box {
			box[i] = min(size[i], shape[i]-off[i])
			n *= box[i]
		}
		if err := f(off, box, at, buf[:n]); err != nil {
			return err
		}
		at += int64(n)
		i := min(axis, len(shape)-1)
		for ; i >= 0; i-- {
			if off[i] += size[i]; off[i] < shape[i] {
				break
			}
			off[i] = 0
		}
		if i < 0 {
			return nil
		}
	}
}
