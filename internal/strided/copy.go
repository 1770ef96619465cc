package strided

import (
	"slices"
	"unsafe"
)

// copyLoops copies elements of item bytes from src at s to dst at d and on
// along the loops, whose distances are in bytes. The loops may run in any
// order.
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

// walk calls visit at each combination of indices, the last fastest.
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

// copyWords is copyLine for the sizes of elements that the hardware can move.
// As distances are positive, a look at both ends of the line stands for a look
// at each of its elements, which would take three times as long. Elements need
// not be aligned: src may begin anywhere in a block that was read.
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
