package zarr

import (
	"fmt"
	"slices"

	"github.com/go-orbax/orbax/internal/fault"
)

// page divides the size of raw chunks where possible, so that they can be written past
// the page cache, and mapped.
const page = 4096

// ChunkShape plans the chunks of an array as runs of its row-major memory. A chunk has
// about targetBytes, between half and double of it where the shape allows. The chunks are
// nearly equal, so that the padding of the last ones stays within 1 % of the array. Where
// the shape allows, their size is a multiple of 4096 bytes. Each dimension of a chunk is
// at least 1, also for an array without elements.
func ChunkShape(shape []int, itemSize, targetBytes int) []int {
	chunk := make([]int, len(shape))
	row := itemSize // size in bytes of one step along the axis
	for i := len(shape) - 1; i >= 0; i-- {
		d := max(1, shape[i])
		if row <= targetBytes/d {
			chunk[i] = d
			row *= d
			continue
		}
		// This axis is divided. The axes before it have size 1; the chunk would not be
		// contiguous otherwise.
		chunk[i] = divide(d, row, targetBytes)
		for j := range i {
			chunk[j] = 1
		}
		break
	}
	return chunk
}

// divide returns how many of d steps of row bytes each make up a chunk. All d steps
// together are larger than the target.
func divide(d, row, target int) int {
	want := max(1, target/max(1, row))
	unit := page / gcd(row, page) // number of steps that fill whole pages
	acceptable := func(k int) bool {
		pieces := (d-1)/k + 1
		padding := k - 1 - (d-1)%k
		return k <= 2*want && 2*k >= want && padding <= d/100 && (pieces > 1 || k == d)
	}
	// Try numbers of pieces near the wanted one, outwards from it.
	even := 0 // best choice so far that does not fill whole pages
	pieces := (d-1)/want + 1
	for away := 0; away <= min(pieces, 1<<12); away++ {
		for _, p := range [2]int{pieces + away, pieces - away} {
			if p < 1 || p > d {
				continue
			}
			k := (d-1)/p + 1
			if aligned := (k-1)/unit*unit + unit; acceptable(aligned) {
				return aligned
			}
			if even == 0 && acceptable(k) {
				even = k
			}
		}
	}
	if even > 0 {
		return even
	}
	// There are few large steps that do not divide well: make smaller chunks, at worst of
	// one step each.
	for k := min(want, d); k > 1; k-- {
		if k-1-(d-1)%k <= d/100 {
			return k
		}
	}
	return 1
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// SplitShape returns the chunk shape that Orbax chooses for a shard of the given shape if
// a program sets chunk_byte_size or shard_axes. Both then write the same grid.
//
// The chunks divide the shard. SplitShape first reduces each of shardAxes to size 1.
// Until a chunk has at most chunkBytes, it then reduces the largest dimension to its next
// smaller divisor. Dimensions that are divided already go first: those of shardAxes, and
// those in which the shard differs from global, the shape of the whole array. A
// chunkBytes of 0 sets no limit.
//
// A limit below itemSize is an error, and so is an axis that the shape does not have.
func SplitShape(global, shape []int, itemSize, chunkBytes int, shardAxes []int) ([]int, error) {
	if len(global) != len(shape) {
		return nil, fmt.Errorf("%w: array shape %v, shard shape %v", fault.ErrShape, global, shape)
	}
	chunk := make([]int, len(shape))
	divided := make([]bool, len(shape))
	for i, d := range shape {
		chunk[i] = max(1, d)
		divided[i] = global[i] != chunk[i]
	}
	for _, axis := range shardAxes {
		if axis < 0 || axis >= len(shape) {
			return nil, fmt.Errorf("%w: shard axis %d for shape %v", fault.ErrShape, axis, shape)
		}
		divided[axis] = divided[axis] || chunk[axis] > 1
		chunk[axis] = 1
	}
	if chunkBytes == 0 {
		return chunk, nil
	}
	if slices.Contains(global, 0) {
		return chunk, nil // nothing is stored, so the other sizes do not matter
	}
	if chunkBytes < itemSize || itemSize < 1 {
		return nil, fmt.Errorf("%w: chunks of %d bytes with elements of %d", fault.ErrShape, chunkBytes, itemSize)
	}
	for !fits(chunk, chunkBytes/itemSize) {
		largest, size := -1, 1
		for i, d := range chunk {
			if divided[i] && d > size {
				largest, size = i, d
			}
		}
		if largest < 0 {
			for i := range divided {
				divided[i] = true
			}
			continue
		}
		chunk[largest] = nextDivisor(shape[largest], size)
	}
	return chunk, nil
}

// SplitEvenly returns a chunk shape for an array whose chunks need not divide shards. A
// chunk is a run of the array's row-major memory of at most chunkBytes, which must be at
// least itemSize. The chunks are nearly equal along the axis that is divided, and have
// size 1 along axes. The last chunks may be padded.
func SplitEvenly(shape []int, itemSize, chunkBytes int, axes []int) []int {
	chunk := make([]int, len(shape))
	row := itemSize
	for i := len(shape) - 1; i >= 0; i-- {
		d := max(1, shape[i])
		most := max(1, chunkBytes/row) // number of steps that fit in a chunk
		if slices.Contains(axes, i) {
			most = 1
		}
		pieces := (d-1)/most + 1
		chunk[i] = (d-1)/pieces + 1
		row *= chunk[i]
		if pieces > 1 && !slices.Contains(axes, i) {
			for j := range i {
				chunk[j] = 1 // otherwise a chunk is not contiguous
			}
			break
		}
	}
	return chunk
}

// fits reports whether the product of shape is at most limit.
func fits(shape []int, limit int) bool {
	n := 1
	for _, d := range shape {
		if d > limit/n {
			return false
		}
		n *= d
	}
	return true
}

// nextDivisor returns the largest divisor of whole below n. n is greater than 1.
func nextDivisor(whole, n int) int {
	best := 1
	for i := 1; i <= whole/i; i++ {
		if whole%i != 0 {
			continue
		}
		if whole/i < n {
			return max(best, whole/i) // all later ones are smaller
		}
		if i < n {
			best = i
		}
	}
	return best
}
