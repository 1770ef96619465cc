// Package zarray reads arrays that are stored in zarr chunks at known places.
package zarray

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/places"
	"github.com/go-orbax/orbax/internal/rawarray"
	"github.com/go-orbax/orbax/internal/region"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
	"github.com/go-orbax/orbax/zarr"
)

// Array is an array that is stored in chunks. It has the place of each chunk.
type Array struct {
	Meta   *Meta
	Dir    *view.Dir
	Grid   []Chunk  // the chunks, in the order of the grid
	first  [1]Chunk // the memory of Grid for most arrays, which have one chunk
	Fill   bool     // missing chunks have the fill value
	Sparse bool     // the writer may have left out chunks
	// Seals, if not nil, returns the seals of the chunks, one after the other. It returns
	// "" if they are not known.
	Seals func(ctx context.Context) (string, error)
}

// New returns an array in dir without metadata and chunks. fill gives missing chunks the
// fill value; sparse says that the writer may have left out chunks.
func New(dir *view.Dir, fill, sparse bool) *Array {
	a := &Array{Dir: dir, Fill: fill, Sparse: sparse}
	a.Grid = a.first[:0]
	return a
}

// chunkForm returns the form of chunk n. seals are those of all chunks.
func (a *Array) chunkForm(n int, seals string) chunkForm {
	f := chunkForm{Metadata: a.Meta.Metadata, sparse: a.Sparse}
	if seals != "" {
		f.seal = seals[n*places.SealSize:][:places.SealSize]
	}
	return f
}

// Chunk is one encoded chunk: its bytes, or their place.
type Chunk struct {
	Inline []byte
	Extent transfer.Extent // if inline is nil
	// Missing says that the chunk is not stored and has the fill value.
	Missing bool
}

// Len returns the number of bytes of the encoded chunk.
func (c Chunk) Len() int64 {
	if c.Inline != nil {
		return int64(len(c.Inline))
	}
	return c.Extent.Length
}

// within returns a range of the encoded chunk as a separate chunk.
func (c Chunk) within(r zarr.Range) Chunk {
	if c.Inline != nil {
		return Chunk{Inline: c.Inline[r.Offset:][:r.Length:r.Length]}
	}
	c.Extent.Offset += r.Offset
	c.Extent.Length = r.Length
	return c
}

// Describe completes the metadata of a leaf that is stored as the array. It changes
// nothing if the array has no metadata.
func (a *Array) Describe(l *view.LeafMetadata) error {
	m := a.Meta
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
	for _, c := range a.Grid {
		l.StoredBytes += c.Len()
		if c.Missing {
			l.MissingChunks++
		}
	}
	return nil
}

// Chunks yields the chunks that overlap the box. If the box does not hold all of a shard,
// it yields the shard's inner chunks instead. If a chunk can be read piecewise, it yields
// pieces of the chunk.
func (a *Array) Chunks(ctx context.Context, off, size []int) iter.Seq2[*view.Chunk, error] {
	return func(yield func(*view.Chunk, error) bool) {
		if err := a.parts(ctx, off, size, yield); err != nil && err != errEnough {
			yield(nil, err)
		}
	}
}

// errEnough says that the consumer wants no more chunks.
var errEnough = errors.New("no more parts are wanted")

// maxIndices bounds the size of the shard indices that are read together, without the
// first one.
const maxIndices = 1 << 20

func (a *Array) parts(ctx context.Context, off, size []int, yield func(*view.Chunk, error) bool) error {
	var seals string
	if a.Seals != nil {
		var err error
		if seals, err = a.Seals(ctx); err != nil {
			return err
		}
	}
	var divided []shard
	var indices int64 // their size in bytes
	for p := range a.Meta.overlapping(off, size) {
		c := a.Grid[p.number]
		switch {
		case c.Missing:
			if !yield(missing(a.Meta.Metadata, p.off, p.size), nil) {
				return errEnough
			}
		case a.Meta.inner != nil && a.divides(p, c, off, size):
			s := shard{place: p, chunk: c}
			var err error
			if s.table, err = a.Meta.ShardIndex(c.Len()); err != nil {
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
			if !a.chunkForm(p.number, seals).parts(a.Dir, p, c, off, size, yield) {
				return errEnough
			}
		}
	}
	return a.innerParts(ctx, divided, off, size, yield)
}

// innerParts yields the inner chunks of shards.
func (a *Array) innerParts(ctx context.Context, divided []shard, off, size []int, yield func(*view.Chunk, error) bool) error {
	if len(divided) == 0 {
		return nil
	}
	if err := a.readIndices(ctx, divided); err != nil {
		return err
	}
	within := chunkForm{Metadata: a.Meta.inner, sparse: a.Sparse}
	for _, s := range divided {
		for pos, index := range a.Meta.InnerChunks(s.index, off, size) {
			r := s.ranges[pos]
			p := place{index: index}
			p.off, p.size = within.ChunkRegion(index)
			if r.Absent() && a.Fill {
				if !yield(missing(within.Metadata, p.off, p.size), nil) {
					return errEnough
				}
				continue
			}
			err := r.Check(s.chunk.Len())
			if err == nil {
				err = within.CheckStored(r.Length)
			}
			if err != nil {
				return fmt.Errorf("chunk %s: inner chunk %v: %w", s.key, index, absent(err, within.sparse))
			}
			c := s.chunk.within(r)
			if !within.parts(a.Dir, &p, c, off, size, yield) {
				return errEnough
			}
		}
	}
	return nil
}

// shard is a chunk that is read by its inner chunks.
type shard struct {
	*place
	chunk  Chunk
	table  zarr.Range   // the place of the shard's index
	ranges []zarr.Range // the places of the inner chunks
}

// A shard of which everything is wanted is still read by its inner chunks if it reaches
// one of these sizes. Reading the index first is worth it from dividedChunk on for inner
// chunks that are stored as they are, and from dividedShard on for inner chunks that are
// decoded.
const (
	dividedChunk = 2 * rawarray.PieceBytes
	dividedShard = 64 << 20
)

// divides reports whether a shard is read by its inner chunks. It is if only some of them
// are wanted, or if the shard need not be whole in memory.
func (a *Array) divides(p *place, c Chunk, off, size []int) bool {
	inner := a.Meta.inner
	if inner.Raw() && c.Len() >= dividedChunk || a.Meta.ChunkBytes() > dividedShard {
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
func (a *Array) readIndices(ctx context.Context, shards []shard) error {
	var reads []transfer.Read
	for i := range shards {
		s := &shards[i]
		parse := func(enc []byte) (err error) {
			s.ranges, err = a.Meta.ParseShardIndex(enc)
			return s.error(err)
		}
		at := s.chunk.within(s.table)
		if at.Inline == nil {
			reads = append(reads, transfer.Read{Extent: at.Extent, Done: parse})
		} else if err := parse(at.Inline); err != nil {
			return err
		}
	}
	return (*transfer.Dir)(a.Dir).ReadAll(ctx, reads)
}

// error adds to err, unless it is nil, that it concerns the shard.
func (s *shard) error(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("chunk %s: %w", s.key, err)
}
