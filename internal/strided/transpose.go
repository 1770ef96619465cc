package strided

import "slices"

// A transpose reads along one loop and writes along another, so it uses only one element
// of each cache line in one of the two arrays. If the distances are powers of two, these
// lines also compete for the same few places in the cache. The copy therefore collects
// tiles in a separate scratch buffer: it reads each line of src once, in full, and writes
// each line of dst once.
const (
	tileBytes = 256     // bytes of src that are read in a row
	tileRows  = 64      // number of such reads that make a tile
	tilePad   = 16      // keeps the columns of a tile from competing for places in the cache
	fewSteps  = 8       // loops shorter than this are not worth a tile
	fewBytes  = 4 << 10 // copies smaller than this stay in the cache without tiles
	stripSize = 1 << 10 // steps along the long loop if the other is short
)

// crossed reports whether a nest, which is sorted by dst, reads along another loop than
// it writes along. along is that loop.
func crossed(nest []axis, item int) (along int, ok bool) {
	last := len(nest) - 1
	if last < 1 || item > tileBytes/fewSteps {
		return 0, false
	}
	along = last
	for i, a := range nest {
		if a.src < nest[along].src {
			along = i
		}
	}
	return along, along != last
}

// copyCrossed is copyLoops for a nest that reads along one loop and writes
// along its last.
func copyCrossed(dst, src []byte, d, s int, nest []axis, along, item int) {
	column := nest[along]
	nest = slices.Delete(nest, along, along+1)
	// The loops that are contiguous in dst are the rows of the tiles.
	k := len(nest) - 1
	rows := nest[k].n
	for k > 0 && nest[k-1].dst == nest[k].n*nest[k].dst {
		k--
		rows *= nest[k].n
	}
	if rows < fewSteps || column.n < fewSteps || rows*column.n*item <= fewBytes {
		k = len(nest) - 1
		few, many := nest[k], column
		if few.n > many.n {
			few, many = many, few
		}
		walk(nest[:k], d, s, func(d, s int) { copyStrips(dst, src, d, s, few, many, item) })
		return
	}
	copyTiled(dst, src, d, s, nest[:k], nest[k:], rows, column, item)
}

// copyTiled is copyCrossed for copies that are worth tiles. It is a separate function so
// that only these copies clear the scratch buffer.
func copyTiled(dst, src []byte, d, s int, outer, inner []axis, rows int, column axis, item int) {
	var scratch [tileRows * (tileBytes + tilePad)]byte
	walk(outer, d, s, func(d, s int) { copyTiles(dst, src, d, s, inner, rows, column, item, scratch[:]) })
}

// copyStrips copies along two loops, one of which has few steps, in strips whose lines
// stay in the cache.
func copyStrips(dst, src []byte, d, s int, few, many axis, item int) {
	for i := 0; i < many.n; i += stripSize {
		strip := many
		strip.n = min(stripSize, many.n-i)
		for j := range few.n {
			copyLine(dst, src, d+i*many.dst+j*few.dst, s+i*many.src+j*few.src, strip, item)
		}
	}
}

// copyTiles transposes rows that are contiguous in dst. Each row goes along column in
// src.
func copyTiles(dst, src []byte, d, s int, nest []axis, rows int, column axis, item int, scratch []byte) {
	cols := tileBytes / item
	pitch := cols*item + tilePad
	step := nest[len(nest)-1].dst
	for c := 0; c < column.n; c += cols {
		in := axis{n: min(cols, column.n-c), src: column.src, dst: item}
		for r := 0; r < rows; r += tileRows {
			out := axis{n: min(tileRows, rows-r), src: pitch, dst: step}
			for k := range out.n {
				copyLine(scratch, src, k*pitch, s+c*column.src+place(nest, r+k), in, item)
			}
			for k := range in.n {
				copyLine(dst, scratch, d+(c+k)*column.dst+r*step, k*item, out, item)
			}
		}
	}
}

// place returns the offset in src after a number of steps along the loops.
func place(nest []axis, steps int) int {
	at := 0
	for i := len(nest) - 1; i > 0; i-- {
		at += steps % nest[i].n * nest[i].src
		steps /= nest[i].n
	}
	return at + steps*nest[0].src
}
