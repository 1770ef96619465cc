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

// plannedChunk is one chunk of an array to be stored.
type plannedChunk struct {
	number int   // in the order of the grid
	index  []int // in the grid
	key    string
	item   transfer.Item // that encodes it
}

// chunks calls add with each chunk of an array, in order.
func (a *planned) chunks(ctx context.Context, add func(plannedChunk)) {
	bound, least, scratch := a.zarr.EncodedBound(), a.zarr.EncodedLeast(), a.scratch()
	number := 0
	for index := range a.zarr.Chunks() {
		it := transfer.Item{
			Leaf:    a.name,
			Bound:   bound,
			Least:   least,
			Scratch: scratch,
			Append:  func(dst []byte) ([]byte, error) { return a.appendChunk(ctx, dst, index) },
		}
		if bound >= transfer.PageValue {
			a.setBody(&it, index)
		}
		add(plannedChunk{number, index, database.JoinKey(a.name, a.zarr.Key(index)), it})
		number++
	}
}

// setBody lets a chunk be written from the array's memory, if it is stored as it
// is there.
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

// inMemory returns a chunk of the array as it lies in memory; nil if it does not.
func (a *planned) inMemory(off, size []int) []byte {
	m := a.zarr
	src, ok := a.src.(*array.Array)
	if !ok || !slices.Equal(size, m.ChunkShape) {
		return nil
	}
	lo, n, ok := region.Run(m.Shape, off, size)
	if !ok {
		return nil
	}
	item := src.DType().Size()
	return src.Bytes()[lo*item:][:n*item]
}

// bytes returns what the elements of the array take.
func (a *planned) bytes() int64 {
	n, _ := region.NumBytes(a.zarr.Shape, a.src.DType().Size()) // zarr.New has checked them
	return int64(n)
}

// regionBytes returns what those elements of the array take that are in a chunk.
func (a *planned) regionBytes(index []int) int64 {
	_, size := a.zarr.ChunkRegion(index)
	n, _ := region.NumBytes(size, a.src.DType().Size())
	return int64(n)
}

// sourceBytes returns what the elements of a chunk take before they are converted.
func (a *planned) sourceBytes() int {
	return a.zarr.ChunkBytes() / a.zarr.DType.Size() * a.src.DType().Size()
}

// scratch returns about what encoding a chunk takes beside the result: the chunk,
// unless it is a run of an array in memory, the chunk in another dtype, and what
// is read to get it, which may be larger chunks.
func (a *planned) scratch() int {
	n := 0
	if a.src.DType() != a.zarr.DType {
		n += a.zarr.ChunkBytes()
	}
	source := a.sourceBytes()
	if _, ok := a.src.(*array.Array); !ok {
		return n + 4*source
	}
	if inner := min(1, len(a.zarr.Shape)); !slices.Equal(a.zarr.ChunkShape[inner:], a.zarr.Shape[inner:]) {
		n += source
	}
	return n
}

// appendChunk appends the encoded chunk at index.
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

// withChunk calls f with a chunk in the dtype of the source: where it lies in
// memory, if it does.
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

// gather brings a chunk's part of the array into chunk and fills what is left
// of it with zeros.
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
