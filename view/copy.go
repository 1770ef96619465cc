package view

import (
	"context"
	"io"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/castlog"
	"github.com/go-orbax/orbax/internal/region"
	"github.com/go-orbax/orbax/internal/transfer"
)

// CopyTo writes the elements of arrays, row-major and little-endian, to w. It writes each
// leaf for which place returns true, at the offset that place returns. It holds a few
// chunks in memory at a time, never a whole array. It calls w from several goroutines.
func (t *Tree) CopyTo(ctx context.Context, w io.WriterAt, place func(*LeafMetadata) (int64, bool)) error {
	if err := mayRead(ctx, t.leaves); err != nil {
		return err
	}
	p := &planner{}
	for _, l := range t.leaves {
		if !l.isArray() && l.meta.Err == nil {
			continue
		}
		base, ok := place(&l.meta)
		if !ok {
			continue
		}
		if err := l.meta.err(); err != nil {
			return err
		}
		if err := l.planCopy(ctx, p, w, base); err != nil {
			return l.wrap(err)
		}
	}
	return p.run(ctx)
}

// planCopy plans to write the leaf to w. If the elements are not in their stored order,
// the leaf is written in rows instead of chunks.
func (l *Leaf) planCopy(ctx context.Context, p *planner, w io.WriterAt, base int64) error {
	if len(l.pieces) != 1 || !l.pieces[0].view.Identity() {
		return l.copyRows(ctx, w, base)
	}
	pc, log := &l.pieces[0], logOf(castlog.From(ctx), l.meta.Path.String())
	for part, err := range pc.array.Chunks(ctx, make([]int, len(l.meta.Shape)), l.meta.Shape) {
		if err != nil {
			return err
		}
		err = p.addChunk(part, transfer.Read{Leaf: l.meta.Path.String(), Scratch: part.scratch(pc.dtype, pc.casts), Done: func(enc []byte) error {
			return part.describe(part.decode(pc.dtype, enc, func(elements []byte) error {
				return withCasts(elements, pc.dtype, pc.casts, log, func(elements []byte, d array.DType) error {
					return region.EachRun(l.meta.Shape, part.Offset, part.Size, d.Size(), func(at int64, n int) error {
						_, err := w.WriteAt(elements[:n], base+at)
						elements = elements[n:]
						return err
					})
				})
			}))
		}})
		if err == nil {
			err = p.runFull(ctx, maxPlanned)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyRows writes the leaf to w in runs along its leading axes.
func (l *Leaf) copyRows(ctx context.Context, w io.WriterAt, base int64) error {
	if total, err := l.bytes(); err != nil || total == 0 {
		return err
	}
	l, err := l.settled(ctx)
	if err != nil {
		return err
	}
	shape, item := l.meta.Shape, l.meta.DType.Size()
	rows := grow(ones(len(shape)), shape, item, blockBytes)
	n, err := region.NumBytes(rows, item)
	if err != nil {
		return err
	}
	buf := make([]byte, n)
	for off, size := range boxesOf(shape, rows) {
		n, _ := region.NumBytes(size, item)
		if err := l.ReadRegion(ctx, buf[:n], off, size); err != nil {
			return err
		}
		if _, err := w.WriteAt(buf[:n], base); err != nil {
			return err
		}
		base += int64(n)
	}
	return nil
}
