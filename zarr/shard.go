package zarr

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"math"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// shard is the codec "sharding_indexed": a chunk divided into inner chunks, each
// encoded by itself, with an index of where they are.
type shard struct {
	shape     []int // of the whole chunk
	grid      []int // number of inner chunks along each axis
	item      int
	inner     *chain // shape and codecs of an inner chunk
	index     *chain // of a uint64 array of shape grid + [2]: offset, length
	start     bool   // the index comes first
	indexSize int    // encoded
}

// decode decodes enc into dst. Where inner chunks lie, and whether they overlap
// or leave gaps, is the writer's business. Those that are all padding may be
// absent, and are not looked at.
func (s *shard) decode(dst, enc []byte, inside []int) error {
	if len(enc) < s.indexSize {
		return fmt.Errorf("%w: shard of %d bytes is too short for its index of %d", fault.ErrCorrupt, len(enc), s.indexSize)
	}
	encIndex := enc[len(enc)-s.indexSize:]
	if s.start {
		encIndex = enc[:s.indexSize]
	}
	// In proportion to the input, which holds the index uncompressed.
	index := make([]byte, s.index.size)
	if err := s.index.decode(index, encIndex, s.index.shape); err != nil {
		return fmt.Errorf("shard index: %w", err)
	}

	// Inner chunks of whole rows are contiguous in dst.
	contiguous := s.contiguous()
	var buf []byte
	if !contiguous {
		buf = make([]byte, s.inner.size)
	}
	at := make([]int, len(s.grid))
	innerInside := make([]int, len(s.grid))
	offset, zero := make([]int, len(s.grid)), make([]int, len(s.grid))
	for i := 0; i*16 < len(index); i++ {
		out := buf
		if contiguous {
			out = dst[i*s.inner.size:][:s.inner.size]
		}
		if s.clip(innerInside, inside, at) {
			enc, err := s.find(enc, index[i*16:], at)
			if err != nil {
				return err
			}
			if err := s.inner.decode(out, enc, innerInside); err != nil {
				return fmt.Errorf("inner chunk %v: %w", at, err)
			}
		} else {
			clear(out)
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

// clip sets innerInside to the part of the inner chunk at index that lies within
// the array, and reports whether there is one.
func (s *shard) clip(innerInside, inside, at []int) bool {
	for i, size := range s.inner.shape {
		innerInside[i] = min(size, inside[i]-at[i]*size)
		if innerInside[i] <= 0 {
			return false
		}
	}
	return true
}

// find returns the bytes that an entry of the index points to in enc.
func (s *shard) find(enc, entry []byte, at []int) ([]byte, error) {
	offset := binary.LittleEndian.Uint64(entry)
	size := binary.LittleEndian.Uint64(entry[8:])
	if offset == math.MaxUint64 && size == math.MaxUint64 {
		return nil, fmt.Errorf("%w: missing inner chunk %v of %v (%w)", fault.ErrCorrupt, at, s.grid, fs.ErrNotExist)
	}
	if offset > uint64(len(enc)) || size > uint64(len(enc))-offset {
		return nil, fmt.Errorf("%w: inner chunk %v at %d, %d bytes long, in a shard of %d bytes", fault.ErrCorrupt, at, offset, size, len(enc))
	}
	return enc[offset : offset+size], nil
}

// contiguous reports whether the inner chunks follow each other in the chunk's
// memory in the order of the grid: after the first axis that an inner chunk does
// not span with size 1, it spans all others.
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
