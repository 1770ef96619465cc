package treesave

import (
	"fmt"
	"slices"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/region"
	"github.com/go-orbax/orbax/zarr"
)

// defaultChunk is the size of a chunk without options: large enough for the full rate of
// a disk, small enough for reading in parallel.
const defaultChunk = 8 << 20

// chunkShape chooses the shape of the chunks of an array. The chunks of a sharded array
// divide its shards, so that each device's part consists of whole chunks.
func chunkShape(shape, shard []int, itemSize, limit int, s ArrayOptions) ([]int, error) {
	if s.ChunkByteSize < 0 {
		return nil, fmt.Errorf("%w: negative chunk size %d", fault.ErrShape, s.ChunkByteSize)
	}
	if shard == nil {
		shard = atLeastOne(shape)
	}
	sharded := !slices.Equal(atLeastOne(shape), shard)
	if s.ChunkByteSize > 0 || len(s.ShardAxes) > 0 {
		chunk, err := zarr.SplitShape(shape, shard, itemSize, s.ChunkByteSize, s.ShardAxes)
		if err == nil && !sharded && splinters(shape, chunk, itemSize, s.ChunkByteSize) {
			chunk = zarr.SplitEvenly(shape, itemSize, s.ChunkByteSize, s.ShardAxes)
		}
		if err == nil {
			err = checkChunks(shape, chunk)
		}
		return chunk, err
	}
	if !sharded {
		return zarr.ChunkShape(shape, itemSize, limit), nil
	}
	return divideShard(shard, itemSize, limit), nil
}

// splinters reports whether chunks are many, and much smaller than they may be. A
// dimension without divisors, such as a prime, leads to such chunks.
func splinters(shape, chunk []int, itemSize, chunkBytes int) bool {
	const few = 1024
	bytes := itemSize
	for _, n := range chunk {
		bytes *= n // at most chunkBytes
	}
	return chunkBytes > 0 && bytes < chunkBytes/4 && region.Chunks(shape, chunk) > few
}

// maxChunks is the largest number of chunks of an array. Each chunk is an entry of an
// index, which every reader keeps in memory.
const maxChunks = 1 << 20

// checkChunks refuses more chunks than can be read at a reasonable cost.
func checkChunks(shape, chunk []int) error {
	if n := region.Chunks(shape, chunk); n > maxChunks {
		return fmt.Errorf("%w: the options divide an array of shape %v into %.0f chunks of %v, at most %d are allowed: choose a larger ChunkByteSize, or other ShardAxes",
			fault.ErrShape, shape, n, chunk, maxChunks)
	}
	return nil
}

// divideShard divides a shard along its leading axes into chunks of about limit bytes. A dimension without a fitting divisor stays whole: large chunks are better than
// millions of small ones.
func divideShard(shard []int, itemSize, limit int) []int {
	chunk := slices.Clone(shard)
	rest := itemSize
	for _, d := range shard {
		rest *= d
	}
	for i, d := range shard {
		if rest <= 2*limit {
			break
		}
		rest /= d
		n := min(d, max(1, 2*limit/rest))
		for d%n != 0 {
			n--
		}
		if n*rest < limit/32 {
			return chunk
		}
		chunk[i] = n
		rest *= n
	}
	return chunk
}
