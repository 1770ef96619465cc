package handler

import (
	"context"
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/region"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
	"github.com/go-orbax/orbax/zarr"
)

// zarrArray is an array that is stored in chunks, of which it knows the places.
type zarrArray struct {
	zarr   *zarr.Metadata
	dir    *view.Dir
	chunks []chunk // in the order of the grid
	fill   bool    // what is missing is fill value
}

// chunk is one encoded chunk: its bytes, or where they lie.
type chunk struct {
	inline []byte
	extent transfer.Extent // if inline is nil
	// missing chunks are all fill value.
	missing bool
}

func (c chunk) len() int64 {
	if c.inline != nil {
		return int64(len(c.inline))
	}
	return c.extent.Length
}

// within returns a range of the encoded chunk as a chunk of its own.
func (c chunk) within(r zarr.Range) chunk {
	if c.inline != nil {
		return chunk{inline: c.inline[r.Offset:][:r.Length:r.Length]}
	}
	c.extent.Offset += r.Offset
	c.extent.Length = r.Length
	return c
}

// number returns the position of a chunk in the order of the grid.
func (a *zarrArray) number(index []int) int {
	n := 0
	for i, x := range index {
		n = n*((a.zarr.Shape[i]-1)/a.zarr.ChunkShape[i]+1) + x
	}
	return n
}

// describe fills in what is known of a leaf that is stored as the array.
func (a *zarrArray) describe(l *view.LeafMetadata) error {
	m := a.zarr
	n, err := region.NumBytes(m.Shape, m.DType.Size())
	if err != nil {
		return fmt.Errorf("%w: %w", fault.ErrCorrupt, err)
	}
	l.Kind, l.DType, l.Shape = tree.KindArray, m.DType, m.Shape
	l.ChunkShape, l.Codecs = m.ChunkShape, m.Codecs()
	l.Bytes = int64(n)
	for _, c := range a.chunks {
		l.StoredBytes += c.len()
	}
	return nil
}

// Parts returns the chunks that overlap the box. Of a shard that the box does not
// hold whole they are its inner chunks, and pieces of chunks that can be read
// piecewise.
func (a *zarrArray) Parts(ctx context.Context, off, size []int) ([]view.Part, error) {
	var parts []view.Part
	var divided []shard
	inner, _ := a.zarr.Inner()
	whole := chunkForm{a.zarr}
	for index := range a.zarr.Overlapping(off, size) {
		c := a.chunks[a.number(index)]
		switch {
		case c.missing:
			parts = append(parts, missing(a.zarr, index))
		case inner != nil && a.divides(inner, index, c, off, size):
			divided = append(divided, shard{index: index, chunk: c})
		default:
			parts = whole.parts(parts, a.dir, index, c, off, size)
		}
	}
	if len(divided) == 0 {
		return parts, nil
	}
	if err := a.readIndices(ctx, divided); err != nil {
		return nil, err
	}
	within := chunkForm{inner}
	for _, s := range divided {
		for pos, index := range a.zarr.InnerChunks(s.index, off, size) {
			r := s.ranges[pos]
			if r.Absent() && a.fill {
				parts = append(parts, missing(inner, index))
				continue
			}
			err := r.Check(s.chunk.len())
			if err == nil {
				err = inner.CheckStored(r.Length)
			}
			if err != nil {
				return nil, fmt.Errorf("chunk %s: inner chunk %v: %w", a.zarr.Key(s.index), index, absent(err))
			}
			c := s.chunk.within(r)
			parts = within.parts(parts, a.dir, index, c, off, size)
		}
	}
	return parts, nil
}

// shard is a chunk that is read by its inner chunks.
type shard struct {
	index  []int
	chunk  chunk
	ranges []zarr.Range // of the inner chunks in it
}

// dividedChunk is what a shard must have to be worth reading its index first,
// when all of it is wanted.
const dividedChunk = 2 * pieceBytes

// divides reports whether a shard is read by its inner chunks: if only some of
// them are wanted, and if they need not be whole in memory.
func (a *zarrArray) divides(inner *zarr.Metadata, index []int, c chunk, off, size []int) bool {
	if inner.Raw() && c.len() >= dividedChunk {
		return true
	}
	lo, n := a.zarr.ChunkRegion(index)
	for i := range lo {
		first, last := max(lo[i], off[i]), min(lo[i]+n[i], off[i]+size[i])-1
		d := inner.ChunkShape[i]
		if first/d != lo[i]/d || last/d != (lo[i]+n[i]-1)/d {
			return true
		}
	}
	return false
}

// readIndices reads the indices of shards.
func (a *zarrArray) readIndices(ctx context.Context, shards []shard) error {
	var reads []transfer.Read
	for i := range shards {
		s := &shards[i]
		r, err := a.zarr.ShardIndex(s.chunk.len())
		if err != nil {
			return a.inChunk(s.index, err)
		}
		parse := func(enc []byte) (err error) {
			s.ranges, err = a.zarr.ParseShardIndex(enc)
			return a.inChunk(s.index, err)
		}
		at := s.chunk.within(r)
		if at.inline == nil {
			reads = append(reads, transfer.Read{Extent: at.extent, Done: parse})
		} else if err := parse(at.inline); err != nil {
			return err
		}
	}
	return a.dir.ReadAll(ctx, reads)
}

func (a *zarrArray) inChunk(index []int, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("chunk %s: %w", a.zarr.Key(index), err)
}
