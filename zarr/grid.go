package zarr

import (
	"iter"
	"slices"
	"strconv"
	"strings"
)

// keyEncoding is a chunk key encoding: "default" has the prefix "c", "v2" and format 2
// have no prefix.
type keyEncoding struct {
	prefix, separator string
	inner             []int // number of inner chunks in a stored chunk along each axis; nil: the keys are not of inner chunks
}

// grid returns the number of chunks along each axis. An axis of size 0 has none.
func (m *Metadata) grid() []int {
	grid := make([]int, len(m.Shape))
	for i, d := range m.Shape {
		if d > 0 {
			grid[i] = (d-1)/m.ChunkShape[i] + 1
		}
	}
	return grid
}

// Chunks yields the index of each chunk in row-major order. Each index is a
// fresh slice.
func (m *Metadata) Chunks() iter.Seq[[]int] {
	return m.Overlapping(make([]int, len(m.Shape)), m.Shape)
}

// NumChunks returns the number of chunks.
func (m *Metadata) NumChunks() int {
	n := 1
	for _, d := range m.grid() {
		n *= d
	}
	return n
}

// Overlapping yields the index of each chunk that holds elements of the box of the given
// size at off, in row-major order. It visits no other chunks. Each index is a fresh
// slice. Overlapping ignores the region of the box outside the array. A box without
// elements, or with another rank than the array, overlaps no chunk.
func (m *Metadata) Overlapping(off, size []int) iter.Seq[[]int] {
	return func(yield func([]int) bool) {
		off, size, ok := clipBox(off, size, m.Shape)
		if !ok {
			return
		}
		first, count := make([]int, len(off)), make([]int, len(off))
		for i, c := range m.ChunkShape {
			first[i] = off[i] / c
			count[i] = (off[i]+size[i]-1)/c - first[i] + 1
		}
		at := make([]int, len(first))
		for {
			index := slices.Clone(first)
			for i, x := range at {
				index[i] += x
			}
			if !yield(index) || !next(at, count) {
				return
			}
		}
	}
}

// clipBox returns the region of a box that lies within shape, and whether there is one.
func clipBox(off, size, shape []int) (o, s []int, ok bool) {
	if len(off) != len(shape) || len(size) != len(shape) {
		return nil, nil, false
	}
	o, s = slices.Clone(off), slices.Clone(size)
	for i, d := range shape {
		if o[i] < 0 && s[i] > 0 {
			o[i], s[i] = 0, s[i]+o[i]
		}
		if s[i] = min(s[i], d-o[i]); s[i] <= 0 {
			return nil, nil, false
		}
	}
	return o, s, true
}

// next advances index within grid in row-major order. It returns false at the end of the
// grid.
func next(index, grid []int) bool {
	for i := len(index) - 1; i >= 0; i-- {
		if index[i]++; index[i] < grid[i] {
			return true
		}
		index[i] = 0
	}
	return false
}

// Key returns the key of the chunk at index, relative to the array: "c/0/1" in format 3
// ("c" for a scalar), "0.1" in format 2 ("0" for a scalar). The document may name another
// separator and encoding. The index must have the array's rank. The key of an inner chunk
// (see [Metadata.Inner]) is the key of the stored chunk that contains it.
func (m *Metadata) Key(index []int) string {
	if len(index) == 0 {
		if m.keys.prefix != "" {
			return m.keys.prefix
		}
		return "0"
	}
	var b strings.Builder
	b.WriteString(m.keys.prefix)
	for i, x := range index {
		if i > 0 || m.keys.prefix != "" {
			b.WriteString(m.keys.separator)
		}
		if m.keys.inner != nil {
			x /= m.keys.inner[i]
		}
		b.WriteString(strconv.Itoa(x))
	}
	return b.String()
}

// ChunkRegion returns the region of the array that the chunk at index holds: its start
// and its size along each axis. At the array's edge the size is less than [ChunkShape],
// and the rest of the chunk is padding. The index must lie within the grid.
func (m *Metadata) ChunkRegion(index []int) (offset, size []int) {
	offset, size = make([]int, len(index)), make([]int, len(index))
	for i, x := range index {
		offset[i] = x * m.ChunkShape[i]
		size[i] = min(m.ChunkShape[i], m.Shape[i]-offset[i])
	}
	return offset, size
}
