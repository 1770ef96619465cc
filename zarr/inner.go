package zarr

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"iter"
	"slices"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/memory"
)

// Inner returns the metadata of the same array with the inner chunks of its shards (the
// codec "sharding_indexed") as chunks. ok is false if its chunks are not shards.
//
// The methods of inner are about inner chunks, so that these can be read one by one:
// indices are those of the array's grid of inner chunks, and [ChunkShape] is the shape of
// an inner chunk. Find the inner chunks with [Metadata.InnerChunks] and
// [Metadata.ParseShardIndex] of m. Only Key and Document are about the stored chunk and
// the stored document. Inner chunks that are shards in turn have inner chunks again.
func (m *Metadata) Inner() (inner *Metadata, ok bool) {
	s := m.chain.shard
	if s == nil {
		return nil, false
	}
	i := *m
	i.chain = m.chain.innerChain()
	i.ChunkShape = i.chain.shape
	i.keys.inner = m.innerGrid()
	for axis, n := range m.keys.inner {
		i.keys.inner[axis] *= n
	}
	return &i, true
}

// innerChain returns the chain of the inner chunks with the array's axes. A transpose
// before the shard applies to its inner chunks too.
func (c *chain) innerChain() *chain {
	inner := *c.shard.inner
	inner.labels = append(slices.Clone(c.labels[:len(c.labels)-1]), inner.labels...)
	if c.perm == nil {
		return &inner
	}
	inner.shape = unpick(c.shard.inner.shape, c.perm)
	inner.perm = c.perm
	if p := c.shard.inner.perm; p != nil {
		inner.perm = pick(c.perm, p)
	}
	if slices.Equal(inner.perm, identity(len(inner.perm))) {
		inner.perm = nil
	}
	return &inner
}

// unpick undoes pick.
func unpick(s, order []int) []int {
	out := make([]int, len(order))
	for i, x := range order {
		out[x] = s[i]
	}
	return out
}

// innerGrid returns the number of inner chunks in a shard along each of the array's axes.
// The slice is a copy.
func (m *Metadata) innerGrid() []int {
	if m.chain.perm == nil {
		return slices.Clone(m.chain.shard.grid)
	}
	return unpick(m.chain.shard.grid, m.chain.perm)
}

// InnerChunks yields the inner chunks of the shard at index that hold elements of the box
// of the given size at off, in row-major order. It visits no others. The first value is
// the position in the result of [Metadata.ParseShardIndex], the second the index for the
// methods of [Metadata.Inner], a fresh slice. InnerChunks yields nothing if the chunk is
// not a shard or does not overlap the box.
func (m *Metadata) InnerChunks(index, off, size []int) iter.Seq2[int, []int] {
	return func(yield func(int, []int) bool) {
		inner, ok := m.Inner()
		if !ok || m.checkIndex(index) != nil {
			return
		}
		off, size, ok := clipBox(off, size, m.Shape)
		if !ok {
			return
		}
		// The region of the box in this chunk.
		start, n := m.ChunkRegion(index)
		for i := range start {
			end := min(off[i]+size[i], start[i]+n[i])
			start[i] = max(off[i], start[i])
			n[i] = end - start[i]
		}
		grid := m.innerGrid()
		for at := range inner.Overlapping(start, n) {
			pos := 0
			for i, x := range at {
				pos = pos*grid[i] + x - index[i]*grid[i]
			}
			if !yield(pos, at) {
				return
			}
		}
	}
}

// ShardIndex returns the range of a stored chunk of n bytes that holds the index of its
// inner chunks. A chunk that is too short for the index is an error that matches
// orbax.ErrCorrupt. If the chunks of m are not shards, the error matches
// orbax.ErrUnsupported.
func (m *Metadata) ShardIndex(n int64) (Range, error) {
	s := m.chain.shard
	if s == nil {
		return Range{}, m.noShard()
	}
	offset, err := s.indexAt(n)
	if err != nil {
		return Range{}, err
	}
	return Range{offset, int64(s.indexSize)}, nil
}

// ParseShardIndex returns the range of each inner chunk in the stored chunk. enc is the
// bytes in the range that [Metadata.ShardIndex] returns. The inner chunks are in
// row-major order along the array's axes.
//
// ParseShardIndex verifies checksums of the index, but not the ranges in it: call
// [Range.Check] for each Range that you use, so that damage to one does not prevent
// reading the others. The errors are those of ShardIndex, and orbax.ErrNoMemory.
func (m *Metadata) ParseShardIndex(enc []byte) ([]Range, error) {
	s := m.chain.shard
	if s == nil {
		return nil, m.noShard()
	}
	index, err := s.parseIndex(enc)
	if err != nil {
		return nil, err
	}
	if m.chain.perm != nil {
		stored := index
		if index, err = memory.Bytes(int64(len(stored))); err != nil {
			return nil, err
		}
		transpose(index, stored, m.innerGrid(), m.chain.perm, indexEntry)
	}
	if err := memory.Check(int64(len(index))); err != nil {
		return nil, err
	}
	ranges := make([]Range, len(index)/indexEntry)
	for i := range ranges {
		ranges[i] = entryRange(index[i*indexEntry:])
	}
	return ranges, nil
}

func (m *Metadata) noShard() error {
	return fmt.Errorf("%w: chunks encoded by %s have no index of inner chunks", fault.ErrUnsupported, m.Codecs())
}

// Range is a range of bytes in a stored chunk.
type Range struct{ Offset, Length int64 }

// indexEntry is the size of an entry of a shard's index: offset and length, or all ones
// for an inner chunk that is absent.
const indexEntry = 16

func entryRange(entry []byte) Range {
	return Range{int64(binary.LittleEndian.Uint64(entry)), int64(binary.LittleEndian.Uint64(entry[8:]))}
}

// Absent reports whether r is the range of an inner chunk that was not stored.
func (r Range) Absent() bool { return r == Range{-1, -1} }

// Check returns an error that matches orbax.ErrCorrupt if r does not lie within a stored
// chunk of n bytes. If r is absent, the error also matches [fs.ErrNotExist].
func (r Range) Check(n int64) error {
	switch {
	case r.Absent():
		return fmt.Errorf("%w: not in the shard (%w)", fault.ErrCorrupt, fs.ErrNotExist)
	case r.Offset < 0 || r.Length < 0 || r.Offset > n || r.Length > n-r.Offset:
		return fmt.Errorf("%w: at %d, %d bytes long, in a shard of %d bytes", fault.ErrCorrupt,
			uint64(r.Offset), uint64(r.Length), n)
	}
	return nil
}
