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
	form   *arrayForm
	dir    *view.Dir
	chunks []chunk  // in the order of the grid
	first  [1]chunk // the memory of chunks, of which most arrays have one
	fill   bool     // what is missing is fill value
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

// describe fills in what is known of a leaf that is stored as the array: nothing if
// its document is not known.
func (a *zarrArray) describe(l *view.LeafMetadata) error {
	m := a.form
	if m == nil {
		return nil
	}
	n, err := region.NumBytes(m.Shape, m.DType.Size())
	if err != nil {
		return fmt.Errorf("%w: %w", fault.ErrCorrupt, err)
	}
	l.Kind, l.DType, l.Shape = tree.KindArray, m.DType, m.Shape
	l.ChunkShape, l.Codecs = m.ChunkShape, m.codecs
	l.Bytes = int64(n)
	for _, c := range a.chunks {
		l.StoredBytes += c.len()
		if c.missing {
			l.MissingChunks++
		}
	}
	return nil
}

// Parts returns the chunks that overlap the box. Of a shard that the box does not
// hold whole they are its inner chunks, and pieces of chunks that can be read
// piecewise.
func (a *zarrArray) Parts(ctx context.Context, off, size []int) ([]view.Part, error) {
	var parts []view.Part
	var divided []shard
	whole := chunkForm{a.form.Metadata}
	for p := range a.form.overlapping(off, size) {
		c := a.chunks[p.number]
		switch {
		case c.missing:
			parts = append(parts, missing(whole.Metadata, p.off, p.size))
		case a.form.inner != nil && a.divides(p, c, off, size):
			divided = append(divided, shard{place: p, chunk: c})
		default:
			parts = whole.parts(parts, a.dir, p, c, off, size)
		}
	}
	if len(divided) == 0 {
		return parts, nil
	}
	if err := a.readIndices(ctx, divided); err != nil {
		return nil, err
	}
	within := chunkForm{a.form.inner}
	for _, s := range divided {
		for pos, index := range a.form.InnerChunks(s.index, off, size) {
			r := s.ranges[pos]
			p := place{index: index}
			p.off, p.size = within.ChunkRegion(index)
			if r.Absent() && a.fill {
				parts = append(parts, missing(within.Metadata, p.off, p.size))
				continue
			}
			err := r.Check(s.chunk.len())
			if err == nil {
				err = within.CheckStored(r.Length)
			}
			if err != nil {
				return nil, fmt.Errorf("chunk %s: inner chunk %v: %w", s.key, index, absent(err))
			}
			c := s.chunk.within(r)
			parts = within.parts(parts, a.dir, &p, c, off, size)
		}
	}
	return parts, nil
}

// shard is a chunk that is read by its inner chunks.
type shard struct {
	*place
	chunk  chunk
	ranges []zarr.Range // of the inner chunks in it
}

// dividedChunk is what a shard must have to be worth reading its index first,
// when all of it is wanted.
const dividedChunk = 2 * pieceBytes

// divides reports whether a shard is read by its inner chunks: if only some of
// them are wanted, and if they need not be whole in memory.
func (a *zarrArray) divides(p *place, c chunk, off, size []int) bool {
	inner := a.form.inner
	if inner.Raw() && c.len() >= dividedChunk {
		return true
	}
	lo, n := p.off, p.size
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
		r, err := a.form.ShardIndex(s.chunk.len())
		if err != nil {
			return s.error(err)
		}
		parse := func(enc []byte) (err error) {
			s.ranges, err = a.form.ParseShardIndex(enc)
			return s.error(err)
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

// error says of err, unless it is nil, that it is about the shard.
func (s *shard) error(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("chunk %s: %w", s.key, err)
}
