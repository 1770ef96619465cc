package handler

import (
	"context"
	"errors"
	"fmt"
	"iter"

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
	sparse bool     // the writer may have left out chunks
	seals  string   // of the chunks, one behind the other; "" if they are not known
}

// chunkForm returns the form of chunk n.
func (a *zarrArray) chunkForm(n int) chunkForm {
	f := chunkForm{Metadata: a.form.Metadata, sparse: a.sparse}
	if a.seals != "" {
		f.seal = a.seals[n*sealSize:][:sealSize]
	}
	return f
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

// Parts yields the chunks that overlap the box. Of a shard that the box does not
// hold whole they are its inner chunks, and pieces of chunks that can be read
// piecewise.
func (a *zarrArray) Parts(ctx context.Context, off, size []int) iter.Seq2[*view.Part, error] {
	return func(yield func(*view.Part, error) bool) {
		if err := a.parts(ctx, off, size, yield); err != nil && err != errEnough {
			yield(nil, err)
		}
	}
}

// errEnough says that no more parts are wanted.
var errEnough = errors.New("no more parts are wanted")

// maxIndices is what indices of shards that are read together may have, beyond the first.
const maxIndices = 1 << 20

func (a *zarrArray) parts(ctx context.Context, off, size []int, yield func(*view.Part, error) bool) error {
	var divided []shard
	var indices int64 // of them, in bytes
	for p := range a.form.overlapping(off, size) {
		c := a.chunks[p.number]
		switch {
		case c.missing:
			if !yield(missing(a.form.Metadata, p.off, p.size), nil) {
				return errEnough
			}
		case a.form.inner != nil && a.divides(p, c, off, size):
			s := shard{place: p, chunk: c}
			var err error
			if s.table, err = a.form.ShardIndex(c.len()); err != nil {
				return s.error(err)
			}
			divided = append(divided, s)
			if indices += s.table.Length; indices < maxIndices {
				break
			}
			if err := a.innerParts(ctx, divided, off, size, yield); err != nil {
				return err
			}
			divided, indices = divided[:0], 0
		default:
			if !a.chunkForm(p.number).parts(a.dir, p, c, off, size, yield) {
				return errEnough
			}
		}
	}
	return a.innerParts(ctx, divided, off, size, yield)
}

// innerParts yields the inner chunks of shards.
func (a *zarrArray) innerParts(ctx context.Context, divided []shard, off, size []int, yield func(*view.Part, error) bool) error {
	if len(divided) == 0 {
		return nil
	}
	if err := a.readIndices(ctx, divided); err != nil {
		return err
	}
	within := chunkForm{Metadata: a.form.inner, sparse: a.sparse}
	for _, s := range divided {
		for pos, index := range a.form.InnerChunks(s.index, off, size) {
			r := s.ranges[pos]
			p := place{index: index}
			p.off, p.size = within.ChunkRegion(index)
			if r.Absent() && a.fill {
				if !yield(missing(within.Metadata, p.off, p.size), nil) {
					return errEnough
				}
				continue
			}
			err := r.Check(s.chunk.len())
			if err == nil {
				err = within.CheckStored(r.Length)
			}
			if err != nil {
				return fmt.Errorf("chunk %s: inner chunk %v: %w", s.key, index, absent(err, within.sparse))
			}
			c := s.chunk.within(r)
			if !within.parts(a.dir, &p, c, off, size, yield) {
				return errEnough
			}
		}
	}
	return nil
}

// shard is a chunk that is read by its inner chunks.
type shard struct {
	*place
	chunk  chunk
	table  zarr.Range   // its index in it
	ranges []zarr.Range // of the inner chunks in it
}

// What a shard must have to be worth reading its index first, when all of it is
// wanted: of inner chunks that are stored as they are, and decoded.
const (
	dividedChunk = 2 * pieceBytes
	dividedShard = 64 << 20
)

// divides reports whether a shard is read by its inner chunks: if only some of
// them are wanted, and if they need not be whole in memory.
func (a *zarrArray) divides(p *place, c chunk, off, size []int) bool {
	inner := a.form.inner
	if inner.Raw() && c.len() >= dividedChunk || a.form.ChunkBytes() > dividedShard {
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
		parse := func(enc []byte) (err error) {
			s.ranges, err = a.form.ParseShardIndex(enc)
			return s.error(err)
		}
		at := s.chunk.within(s.table)
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
