package object

import (
	"slices"
	"sync"
)

// span is a range of a file.
type span struct{ off, end int64 }

// piece is a range of a file in memory.
type piece struct {
	span
	bufs   [][]byte
	copies [][]byte // those of bufs that belong to the writer
}

// add appends a copy of b. most is the size of the greatest buffers.
func (p *piece) add(b []byte, most int) {
	length := int(p.end - p.off)
	p.end += int64(len(b))
	if n := len(p.copies); n > 0 && len(p.bufs) > 0 {
		last := &p.bufs[len(p.bufs)-1]
		if own := &p.copies[n-1]; len(*last) == len(*own) && &(*last)[0] == &(*own)[0] && cap(*own)-len(*own) >= len(b) {
			*own = append(*own, b...)
			*last = *own
			return
		}
	}
	own := append(getBuffer(max(len(b), min(length, most))), b...)
	p.bufs, p.copies = append(p.bufs, own), append(p.copies, own)
}

// join appends q, which begins where p ends.
func (p piece) join(q piece) piece {
	return piece{span{p.off, q.end}, slices.Concat(p.bufs, q.bufs), slices.Concat(p.copies, q.copies)}
}

// pooled is the size of the buffers that are used again. A save of parts that must be
// gathered would otherwise leave as much garbage as it writes.
const pooled = 8 << 20

var buffers = sync.Pool{New: func() any { return new([pooled]byte) }}

// getBuffer returns an empty buffer with room for n bytes.
func getBuffer(n int) []byte {
	if n > pooled || n <= pooled/2 {
		return make([]byte, 0, n)
	}
	return buffers.Get().(*[pooled]byte)[:0]
}

// free gives the copies back.
func (p piece) free() {
	for _, b := range p.copies {
		if cap(b) == pooled {
			buffers.Put((*[pooled]byte)(b[:pooled]))
		}
	}
}

// cut divides a range: its first n bytes, and the rest.
func (p piece) cut(n int64) (body [][]byte, rest piece) {
	rest = piece{span: span{p.off + n, p.end}, bufs: p.bufs}
	for n > 0 {
		b := rest.bufs[0]
		if int64(len(b)) > n {
			rest.bufs = append([][]byte{b[n:]}, rest.bufs[1:]...)
			return append(body, b[:n]), rest
		}
		body = append(body, b)
		rest.bufs = rest.bufs[1:]
		n -= int64(len(b))
	}
	return body, rest
}

// The number of a part follows from its offset alone, because parts come in any order. The
// numbers are divided into runs. In each run, parts have at least four times as many bytes
// as in the one before, so that there are numbers for a file of any size.
const (
	numberRuns = 5
	runGrowth  = 4
)

// run returns the run of part numbers that an offset is in: where the run begins, and the
// fewest bytes of its parts.
func (s *Store) run(off int64) (number int, start, least int64) {
	least = max(s.limits.MinPart, s.o.PartSize/8, 1)
	runs := max(s.limits.MaxParts/numberRuns, 1)
	for range numberRuns - 1 {
		end := start + int64(runs)*least
		if off < end {
			break
		}
		number, start, least = number+runs, end, least*runGrowth
	}
	return number, start, least
}

// leastPart returns the fewest bytes of a part at an offset, if it is not the last one.
func (s *Store) leastPart(off int64) int64 {
	_, _, least := s.run(off)
	return least
}

// partNumber returns the number of the part at an offset.
func (s *Store) partNumber(off int64) int {
	number, start, least := s.run(off)
	return number + int((off-start)/least) + 1
}

// partLength returns the length of the first part of n bytes at an offset.
func (s *Store) partLength(off, n int64) int64 {
	full := max(s.o.PartSize, s.leastPart(off))
	if n < 2*full+s.leastPart(off+full) {
		return n
	}
	return full
}
