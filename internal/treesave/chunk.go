package treesave

import (
	"context"
	"fmt"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/castlog"
	"github.com/go-orbax/orbax/internal/database"
	"github.com/go-orbax/orbax/internal/region"
	"github.com/go-orbax/orbax/internal/transfer"
)

// plannedChunk is one chunk of an array that will be stored.
type plannedChunk struct {
	n     int   // position among the chunks that this process writes
	index []int // in the grid
	key   string
	item  transfer.Item // encodes the chunk
}

// eachChunk calls add for each chunk of an array that this process writes, in order. It does
// not call ownIndexes: the closures of that iterator escape, and allocating them takes as
// long as writing a small array.
func (a *planned) eachChunk(ctx context.Context, add func(plannedChunk)) {
	it := transfer.Item{Leaf: a.name, Bound: a.zarr.EncodedBound(), Least: a.zarr.EncodedLeast(), Scratch: a.scratch()}
	if a.part {
		for n, own := range a.own {
			add(a.chunk(ctx, it, n, a.index(own)))
		}
		return
	}
	n := 0
	for index := range a.zarr.Chunks() {
		add(a.chunk(ctx, it, n, index))
		n++
	}
}

// chunk returns the chunk at index, the n-th that this process writes. it describes all
// chunks of the array.
func (a *planned) chunk(ctx context.Context, it transfer.Item, n int, index []int) plannedChunk {
	it.Append = func(dst []byte) ([]byte, error) { return a.appendChunk(ctx, dst, index) }
	if it.Bound >= transfer.PageValue {
		a.setBody(&it, index)
	}
	return plannedChunk{n, index, database.JoinKey(a.name, a.zarr.Key(index)), it}
}

// setBody lets a chunk be written straight from the array's memory, if it is stored in
// the form that it has there.
func (a *planned) setBody(it *transfer.Item, index []int) {
	if a.src.DType() != a.zarr.DType {
		return
	}
	off, size := a.zarr.ChunkRegion(index)
	chunk := a.inMemory(off, size)
	if chunk == nil {
		return
	}
	if tail, ok := a.zarr.Tail(chunk); ok {
		it.Body, it.Tail = chunk, tail
	}
}

// inMemory returns a chunk of the array as it lies in memory. It returns nil if the chunk
// is not one run of memory.
func (a *planned) inMemory(off, size []int) []byte {
	if !slices.Equal(size, a.zarr.ChunkShape) {
		return nil
	}
	src, off := a.holder(off, size)
	if src == nil {
		return nil
	}
	lo, n, ok := region.Run(src.Shape(), off, size)
	if !ok {
		return nil
	}
	item := src.DType().Size()
	return src.Bytes()[lo*item:][:n*item]
}

// holder returns the array in memory that holds the box of the given size at off, and the
// offset of the box there. It returns nil if there is none.
func (a *planned) holder(off, size []int) (*array.Array, []int) {
	switch src := a.src.(type) {
	case *array.Array:
		return src, off
	case *array.Sharded:
		if s, ok := src.Shard(off, size); ok {
			within := make([]int, len(off))
			for i := range off {
				within[i] = off[i] - s.Offset[i]
			}
			return s.Array, within
		}
	}
	return nil, nil
}

// isInMemory reports whether the elements that this process writes are in memory.
func (a *planned) isInMemory() bool {
	switch a.src.(type) {
	case *array.Array, *array.Sharded:
		return true
	}
	return false
}

// bytes returns the size of the elements that this process writes.
func (a *planned) bytes() (total int64) {
	if a.part {
		for index := range a.ownIndexes() {
			total += a.regionBytes(index)
		}
		return total
	}
	n, _ := region.NumBytes(a.zarr.Shape, a.src.DType().Size()) // zarr.New has checked them
	return int64(n)
}

// regionBytes returns the size of the array's elements that are in the chunk at index.
func (a *planned) regionBytes(index []int) int64 {
	_, size := a.zarr.ChunkRegion(index)
	n, _ := region.NumBytes(size, a.src.DType().Size())
	return int64(n)
}

// sourceBytes returns the size of the elements of a chunk before they are converted.
func (a *planned) sourceBytes() int {
	return a.zarr.ChunkBytes() / a.zarr.DType.Size() * a.src.DType().Size()
}

// scratch returns about the memory that encoding a chunk takes besides the result: the
// chunk, unless it is a run of an array in memory; the chunk in another dtype; and the
// chunks of the source that are read for it, which may be larger.
func (a *planned) scratch() int {
	n := 0
	if a.src.DType() != a.zarr.DType {
		n += a.zarr.ChunkBytes()
	}
	source := a.sourceBytes()
	if !a.isInMemory() {
		return n + 4*source
	}
	if _, sharded := a.src.(*array.Sharded); sharded {
		n += source
	} else if inner := min(1, len(a.zarr.Shape)); !slices.Equal(a.zarr.ChunkShape[inner:], a.zarr.Shape[inner:]) {
		n += source
	}
	return n
}

// appendChunk appends the encoded chunk at index to dst.
func (a *planned) appendChunk(ctx context.Context, dst []byte, index []int) ([]byte, error) {
	err := a.withChunk(ctx, index, func(chunk []byte) error {
		if a.zarr.DType == a.src.DType() {
			return a.encode(&dst, index, chunk)
		}
		return transfer.WithScratch(a.zarr.ChunkBytes(), func(converted []byte) error {
			if err := array.Convert(converted, a.zarr.DType, chunk, a.src.DType()); err != nil {
				return err
			}
			if log := castlog.From(ctx); log != nil {
				log(a.name, converted, a.zarr.DType, chunk, a.src.DType())
			}
			return a.encode(&dst, index, converted)
		})
	})
	return dst, err
}

func (a *planned) encode(dst *[]byte, index []int, chunk []byte) (err error) {
	if *dst, err = a.zarr.AppendChunk(*dst, chunk); err != nil {
		return fmt.Errorf("chunk %s: %w", a.zarr.Key(index), err)
	}
	return nil
}

// withChunk calls f with a chunk in the dtype of the source. It does not copy a chunk
// that is a run of memory.
func (a *planned) withChunk(ctx context.Context, index []int, f func(chunk []byte) error) error {
	off, size := a.zarr.ChunkRegion(index)
	if chunk := a.inMemory(off, size); chunk != nil {
		return f(chunk)
	}
	return transfer.WithScratch(a.sourceBytes(), func(chunk []byte) error {
		if err := a.gather(ctx, chunk, off, size); err != nil {
			return err
		}
		return f(chunk)
	})
}

// gather reads the elements of a chunk from the array into chunk and fills the rest of
// chunk with zeros.
func (a *planned) gather(ctx context.Context, chunk []byte, off, size []int) error {
	m, item := a.zarr, a.src.DType().Size()
	if slices.Equal(size, m.ChunkShape) {
		return a.src.ReadRegion(ctx, chunk, off, size)
	}
	clear(chunk)
	zero := make([]int, len(off))
	if src, ok := a.src.(*array.Array); ok {
		return array.CopyRegion(chunk, m.ChunkShape, zero, src.Bytes(), m.Shape, off, size, item)
	}
	n, err := array.NumElements(size)
	if err != nil {
		return err
	}
	return transfer.WithScratch(n*item, func(part []byte) error {
		if err := a.src.ReadRegion(ctx, part, off, size); err != nil {
			return err
		}
		return array.CopyRegion(chunk, m.ChunkShape, zero, part, size, zero, size, item)
	})
}
