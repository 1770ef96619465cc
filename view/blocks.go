package view

import (
	"context"
	"iter"
	"slices"

	"github.com/go-orbax/orbax/internal/region"
	"github.com/go-orbax/orbax/internal/transfer"
)

const (
	// blockBytes is about the number of bytes that a pass over every element reads at
	// once: a box of a large leaf, or many small leaves.
	blockBytes = 8 << 20
	// blockLeaves is the largest number of leaves that are read at once.
	blockLeaves = 512
	// windowBytes bounds the memory of all such blocks together. A block that needs more
	// is read alone.
	windowBytes = 64 << 20
	// wideWindow bounds a single block, however large the stored chunks are.
	wideWindow = 1 << 30
)

// box is a box of an array.
type box struct {
	leaf      *Leaf
	off, size []int
	bytes     int
	whole     bool // the box is all of the array
}

// chunks returns the shape of the stored chunks of an array. It returns nil if the array
// consists of several stored arrays, or if its chunks lie in another order.
func (l *Leaf) chunks() []int {
	if len(l.pieces) == 1 {
		if _, ok := l.pieces[0].array.(*reading); ok && l.pieces[0].view.Identity() {
			return ones(len(l.meta.Shape)) // any box costs the same
		}
	}
	if len(l.meta.ChunkShape) != len(l.meta.Shape) {
		return nil
	}
	chunk := slices.Clone(l.meta.ChunkShape)
	for i, d := range l.meta.Shape {
		chunk[i] = max(1, min(chunk[i], d))
	}
	return chunk
}

func ones(n int) []int { return slices.Repeat([]int{1}, n) }

// bytes returns the size of the leaf's elements, 0 if the leaf is not an array.
func (l *Leaf) bytes() (int, error) {
	if !l.isArray() {
		return 0, nil
	}
	n, err := region.NumBytes(l.meta.Shape, l.meta.DType.Size())
	return n, l.wrap(err)
}

// window returns the number of bytes that one block may take for arrays in the given
// chunks. It is more for large chunks, because decoding them takes their size anyway.
func window(chunk []int, item int) int {
	n, err := region.NumBytes(chunk, item)
	if err != nil || n > wideWindow/4 {
		return wideWindow
	}
	return max(windowBytes, 4*n)
}

// blockSize returns the size of the boxes in which an array is read: whole chunks, if
// boxes of them fit in limit, so that each chunk is decoded once.
func blockSize(shape, chunk []int, item, limit int) []int {
	if chunk == nil {
		return grow(ones(len(shape)), shape, item, windowBytes)
	}
	if n, err := region.NumBytes(chunk, item); err != nil || n > limit {
		return grow(ones(len(shape)), shape, item, limit)
	}
	return grow(chunk, shape, item, blockBytes)
}

// grow multiplies a box, last axis first, as long as its elements fit in limit bytes.
func grow(size, shape []int, item, limit int) []int {
	size = slices.Clone(size)
	for i := len(size) - 1; i >= 0; i-- {
		bytes, _ := region.NumBytes(size, item)
		n := max(1, limit/bytes)
		if have := (shape[i]-1)/size[i] + 1; n < have {
			size[i] *= n
			break
		}
		size[i] = shape[i]
	}
	return size
}

// inRows returns a chunk widened to whole rows: it spans all axes after the first axis
// along which it is longer than 1. Boxes that are multiples of it are contiguous in
// row-major order.
func inRows(chunk, shape []int) []int {
	if chunk == nil {
		return nil
	}
	rows := slices.Clone(chunk)
	spans := false
	for i := range rows {
		if spans {
			rows[i] = shape[i]
		}
		spans = spans || rows[i] > 1
	}
	return rows
}

// boxesOf divides an array that is not empty into boxes of the given size, and yields
// them in row-major order.
func boxesOf(shape, size []int) iter.Seq2[[]int, []int] {
	return func(yield func(off, size []int) bool) {
		off := make([]int, len(shape))
		for {
			n := make([]int, len(shape))
			for i, d := range shape {
				n[i] = min(size[i], d-off[i])
			}
			if !yield(slices.Clone(off), n) {
				return
			}
			i := len(shape) - 1
			for ; i >= 0; i-- {
				if size[i] < shape[i]-off[i] {
					off[i] += size[i]
					break
				}
				off[i] = 0
			}
			if i < 0 {
				return
			}
		}
	}
}

// block is a unit of reading: boxes of arrays, or pairs of them.
type block[B any] struct {
	boxes []B
	bytes int // size of its memory
}

// gather combines boxes to blocks. Only boxes that are whole arrays are combined, because
// the bounds of several boxes of one array may be much larger than the boxes. need
// returns the size of a box in memory, and whether the box is a whole array.
func gather[B any](boxes iter.Seq[B], need func(*B) (bytes int, whole bool)) iter.Seq[block[B]] {
	return func(yield func(block[B]) bool) {
		var b block[B]
		shared := false // b may take further boxes
		for x := range boxes {
			n, whole := need(&x)
			if len(b.boxes) > 0 && !(shared && whole && b.bytes+n <= blockBytes && len(b.boxes) < blockLeaves) {
				if !yield(b) {
					return
				}
				b = block[B]{}
			}
			b.boxes = append(b.boxes, x)
			b.bytes += n
			shared = whole
		}
		if len(b.boxes) > 0 {
			yield(b)
		}
	}
}

// eachBlock calls do for the blocks, each with memory for it whose content is arbitrary.
// The blocks start in their order, several at a time. They share an engine of their own;
// the engines of the directories, which do the reads of the blocks, have other budgets.
func eachBlock[B any](ctx context.Context, blocks iter.Seq[block[B]], do func(ctx context.Context, boxes []B, memory []byte) error) error {
	e := &transfer.Engine{Budget: windowBytes}
	need := func(b block[B]) int64 { return int64(b.bytes) }
	return transfer.Each(ctx, e, blocks, need, func(ctx context.Context, b block[B], memory []byte) error {
		return do(ctx, b.boxes, memory)
	})
}

// readBoxes reads boxes to dst, one after the other. It returns the memory of each box,
// and the rest of dst.
func readBoxes(ctx context.Context, dst []byte, boxes []box) (data [][]byte, rest []byte, err error) {
	requests := make([]request, len(boxes))
	data = make([][]byte, len(boxes))
	for i, x := range boxes {
		data[i], dst = dst[:x.bytes:x.bytes], dst[x.bytes:]
		requests[i] = request{
			leaf: x.leaf, off: x.off, size: x.size,
			dst: data[i], dtype: x.leaf.meta.DType, dstShape: x.size, dstOff: make([]int, len(x.size)),
		}
	}
	return data, dst, read(ctx, requests, nil)
}
