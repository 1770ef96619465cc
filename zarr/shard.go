package zarr

import (
	"fmt"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/memory"
)

// shard is the codec "sharding_indexed". It divides a chunk into inner chunks, each
// encoded by itself, with an index of their places.
type shard struct {
	shape     []int // of the whole chunk
	grid      []int // number of inner chunks along each axis
	item      int
	inner     *chain // shape and codecs of an inner chunk
	index     *chain // of a uint64 array of shape grid + [2]: offset, length
	start     bool   // the index comes first
	indexSize int    // size of the encoded index
}

// indexAt returns the offset of the index in a stored shard of n bytes.
func (s *shard) indexAt(n int64) (offset int64, err error) {
	if n < int64(s.indexSize) {
		return 0, fmt.Errorf("%w: shard of %d bytes is too short for its index of %d", fault.ErrCorrupt, n, s.indexSize)
	}
	if s.start {
		return 0, nil
	}
	return n - int64(s.indexSize), nil
}

// parseIndex decodes the index to entries of indexEntry bytes, in the order of the grid.
// The result is as large as enc, because the index is not compressed.
func (s *shard) parseIndex(enc []byte) ([]byte, error) {
	if len(enc) != s.indexSize {
		return nil, fmt.Errorf("%w: shard index of %d bytes, want %d", fault.ErrCorrupt, len(enc), s.indexSize)
	}
	index, err := memory.Bytes(int64(s.index.size))
	if err != nil {
		return nil, err
	}
	if err := s.index.decode(index, enc, s.index.shape, nil); err != nil {
		return nil, fmt.Errorf("shard index: %w", err)
	}
	return index, nil
}

// decode decodes enc into dst. It accepts inner chunks at any place, also if they overlap
// or leave gaps. Inner chunks that are all padding may be absent, and are not looked at;
// other inner chunks may be absent if there is an element to fill them with.
func (s *shard) decode(dst, enc []byte, inside []int, absent []byte) error {
	start, err := s.indexAt(int64(len(enc)))
	if err != nil {
		return err
	}
	index, err := s.parseIndex(enc[start:][:s.indexSize])
	if err != nil {
		return err
	}

	// Inner chunks of whole rows are contiguous in dst.
	contiguous := s.contiguous()
	var buf []byte
	if !contiguous {
		if buf, err = memory.Bytes(int64(s.inner.size)); err != nil {
			return err
		}
	}
	at := make([]int, len(s.grid))
	innerInside := make([]int, len(s.grid))
	offset, zero := make([]int, len(s.grid)), make([]int, len(s.grid))
	for i := 0; i*indexEntry < len(index); i++ {
		out := buf
		if contiguous {
			out = dst[i*s.inner.size:][:s.inner.size]
		}
		switch r := entryRange(index[i*indexEntry:]); {
		case !s.clip(innerInside, inside, at):
			clear(out)
		case r.Absent() && absent != nil:
			fillWith(out, absent)
		default:
			err := r.Check(int64(len(enc)))
			if err == nil {
				err = s.inner.decode(out, enc[r.Offset:][:r.Length], innerInside, absent)
			}
			if err != nil {
				return fmt.Errorf("inner chunk %v: %w", at, err)
			}
		}
		if !contiguous {
			for i, x := range at {
				offset[i] = x * s.inner.shape[i]
			}
			if err := array.CopyRegion(dst, s.shape, offset, out, s.inner.shape, zero, s.inner.shape, s.item); err != nil {
				return err
			}
		}
		next(at, s.grid)
	}
	return nil
}

// clip sets innerInside to the size of the region of the inner chunk at index that lies
// within the array. It returns false if there is none.
func (s *shard) clip(innerInside, inside, at []int) bool {
	for i, size := range s.inner.shape {
		innerInside[i] = min(size, inside[i]-at[i]*size)
		if innerInside[i] <= 0 {
			return false
		}
	}
	return true
}

// contiguous reports whether the inner chunks follow each other in the chunk's memory in
// the order of the grid. That holds if an inner chunk has size 1 along the leading axes,
// any size along the next axis, and spans all further axes.
func (s *shard) contiguous() bool {
	i := 0
	for i < len(s.grid) && s.inner.shape[i] == 1 {
		i++
	}
	for i++; i < len(s.grid); i++ {
		if s.grid[i] != 1 {
			return false
		}
	}
	return true
}
