package handler

import (
	"context"
	"io"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/transfer"
)

// CopyTo writes the elements of arrays, row-major and little-endian, to w: the
// array of each leaf at the offset that place returns for it, if it reports
// true. It holds a few chunks in memory at a time, never a whole array. w is
// used by several goroutines.
func (t *Tree) CopyTo(ctx context.Context, w io.WriterAt, place func(*LeafMetadata) (int64, bool)) error {
	var reads []transfer.Read
	for i := range t.leaves {
		l := &t.leaves[i]
		if l.zarr == nil {
			continue
		}
		base, ok := place(&l.LeafMetadata)
		if !ok {
			continue
		}
		for index, c := range l.each() {
			write := func(enc []byte) error { return l.copyChunk(w, base, index, enc) }
			if c.inline != nil {
				if err := write(c.inline); err != nil {
					return &fault.Leaf{Path: l.Path.String(), Err: err}
				}
				continue
			}
			reads = append(reads, transfer.Read{Leaf: l.Path.String(), Extent: c.extent, Done: write})
		}
	}
	return t.readAll(ctx, reads)
}

// copyChunk writes the part of a chunk that is array, run by run.
func (l *storedLeaf) copyChunk(w io.WriterAt, base int64, index []int, enc []byte) error {
	m := l.zarr
	item := m.DType.Size()
	return withScratch(m.ChunkBytes(), func(chunk []byte) error {
		if err := m.DecodeChunk(index, chunk, enc); err != nil {
			return inChunk(m, index, err)
		}
		off, size := m.ChunkRegion(index)
		return withPart(chunk, m.ChunkShape, size, item, func(part []byte) error {
			return eachRun(m.Shape, off, size, item, func(at int64, n int) error {
				_, err := w.WriteAt(part[:n], base+at)
				part = part[n:]
				return err
			})
		})
	})
}
