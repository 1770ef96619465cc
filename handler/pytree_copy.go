package handler

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/go-orbax/orbax/array"
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
		next := 0
		for index := range l.zarr.Chunks() {
			c := l.chunks[next]
			next++
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
	return transfer.ReadAll(ctx, t.dir.store, t.dir.path(), reads)
}

// copyChunk writes the part of a chunk that is array, run by run.
func (l *storedLeaf) copyChunk(w io.WriterAt, base int64, index []int, enc []byte) error {
	m := l.zarr
	item := m.DType.Size()
	return withScratch(m.ChunkBytes(), func(chunk []byte) error {
		if err := m.DecodeChunk(index, chunk, enc); err != nil {
			return fmt.Errorf("chunk %s: %w", m.Key(index), err)
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

// withPart calls f with the elements of the corner of the given size of a
// chunk: the chunk itself if that is all of it.
func withPart(chunk []byte, chunkShape, size []int, item int, f func([]byte) error) error {
	if slices.Equal(size, chunkShape) {
		return f(chunk)
	}
	n, err := array.NumElements(size)
	if err != nil {
		return err
	}
	return withScratch(n*item, func(part []byte) error {
		zero := make([]int, len(size))
		if err := array.CopyRegion(part, size, zero, chunk, chunkShape, zero, size, item); err != nil {
			return err
		}
		return f(part)
	})
}

// eachRun calls f for every contiguous run of a region of an array, in row-
// major order: its place in the array and its length, in bytes.
func eachRun(shape, off, size []int, item int, f func(at int64, n int) error) error {
	if slices.Contains(size, 0) {
		return nil
	}
	// The axes from inner on make one run.
	inner := len(shape)
	for inner > 0 && (inner == len(shape) || size[inner] == shape[inner]) {
		inner--
	}
	run := item
	for _, n := range size[inner:] {
		run *= n
	}
	index := slices.Clone(off[:inner])
	for {
		at := int64(0)
		for i, d := range shape {
			at *= int64(d)
			if i < inner {
				at += int64(index[i])
			} else {
				at += int64(off[i])
			}
		}
		if err := f(at*int64(item), run); err != nil {
			return err
		}
		i := inner - 1
		for ; i >= 0; i-- {
			if index[i]++; index[i] < off[i]+size[i] {
				break
			}
			index[i] = off[i]
		}
		if i < 0 {
			return nil
		}
	}
}
