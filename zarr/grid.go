package zarr

import (
	"iter"
	"slices"
	"strconv"
	"strings"
)

// keyEncoding is a chunk key encoding: "default" has the prefix "c", "v2" and
// format 2 have none.
type keyEncoding struct{ prefix, separator string }

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
	return func(yield func([]int) bool) {
		grid := m.grid()
		if slices.Contains(grid, 0) {
			return
		}
		index := make([]int, len(grid))
		for {
			if !yield(slices.Clone(index)) || !next(index, grid) {
				return
			}
		}
	}
}

// next advances index within grid in row-major order and reports whether there
// was a next one.
func next(index, grid []int) bool {
	for i := len(index) - 1; i >= 0; i-- {
		if index[i]++; index[i] < grid[i] {
			return true
		}
		index[i] = 0
	}
	return false
}

// Key returns the key of the chunk at index, relative to the array: "c/0/1" in
// format 3 ("c" for a scalar), "0.1" in format 2 ("0" for a scalar), or as the
// document's separator and encoding say. The index needs the array's rank.
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
		b.WriteString(strconv.Itoa(x))
	}
	return b.String()
}

// ChunkRegion returns the part of the array that the chunk at index holds: where
// it starts and its size along each axis. At the array's edge the size is less
// than ChunkShape, and the rest of the chunk is padding. The index must lie
// within the grid.
func (m *Metadata) ChunkRegion(index []int) (offset, size []int) {
	offset, size = make([]int, len(index)), make([]int, len(index))
	for i, x := range index {
		offset[i] = x * m.ChunkShape[i]
		size[i] = min(m.ChunkShape[i], m.Shape[i]-offset[i])
	}
	return offset, size
}
