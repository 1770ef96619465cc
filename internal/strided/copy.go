package strided

import (
	"slices"
	"unsafe"
)

// copyLoops copies elements of item bytes along the loops, from offset s of src to offset
// d of dst. The distances of the loops are in bytes. The order of the loops does not
// matter.
func copyLoops(dst, src []byte, d, s int, loops []axis, item int) {
	var buf [8]axis
	nest := append(buf[:0], loops...)
	slices.SortFunc(nest, func(a, b axis) int { return b.dst - a.dst })
	nest = merge(nest)
	if k := len(nest) - 1; k >= 0 && nest[k].dst == item && nest[k].src == item {
		item *= nest[k].n
		nest = nest[:k]
	}
	if along, ok := crossed(nest, item); ok {
		copyCrossed(dst, src, d, s, nest, along, item)
		return
	}
	line := axis{n: 1}
	if k := len(nest) - 1; k >= 0 {
		line, nest = nest[k], nest[:k]
	}
	walk(nest, d, s, func(d, s int) { copyLine(dst, src, d, s, line, item) })
}

// walk calls visit for each combination of indices; the last index changes fastest.
func walk(nest []axis, d, s int, visit func(d, s int)) {
	if len(nest) == 0 {
		visit(d, s)
		return
	}
	for range nest[0].n {
		walk(nest[1:], d, s, visit)
		d += nest[0].dst
		s += nest[0].src
	}
}

// copyLine copies along one loop.
func copyLine(dst, src []byte, d, s int, a axis, item int) {
	switch {
	case a.dst == item && a.src == item:
		copy(dst[d:d+a.n*item], src[s:])
	case item == 1:
		copyWords[uint8](dst, src, d, s, a)
	case item == 2:
		copyWords[uint16](dst, src, d, s, a)
	case item == 4:
		copyWords[uint32](dst, src, d, s, a)
	case item == 8:
		copyWords[uint64](dst, src, d, s, a)
	case item == 16:
		copyWords[[2]uint64](dst, src, d, s, a)
	default:
		for range a.n {
			copy(dst[d:d+item], src[s:s+item])
			d, s = d+a.dst, s+a.src
		}
	}
}

// copyWords is copyLine for the element sizes that the hardware can move. Distances are
// positive, so one bounds check at each end of the line replaces a check of each element,
// which would take three times as long. Elements need not be aligned: src may begin
// anywhere in a block that was read.
func copyWords[T uint8 | uint16 | uint32 | uint64 | [2]uint64](dst, src []byte, d, s int, a axis) {
	var word T
	size := int(unsafe.Sizeof(word))
	to := unsafe.Pointer(unsafe.SliceData(dst[d : d+(a.n-1)*a.dst+size]))
	from := unsafe.Pointer(unsafe.SliceData(src[s : s+(a.n-1)*a.src+size]))
	d, s = 0, 0
	for range a.n {
		*(*T)(unsafe.Add(to, d)) = *(*T)(unsafe.Add(from, s))
		d, s = d+a.dst, s+a.src
	}
}
