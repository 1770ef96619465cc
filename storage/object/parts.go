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

// run is a range of part numbers. The number of a part follows from its offset alone,
// because parts come in any order. In each run, parts have several times as many bytes as in
// the one before, so that there are numbers for the largest objects that the clouds keep.
type run struct {
	number int   // of the parts before
	start  int64 // the offset of the first byte
	least  int64 // the fewest bytes of a part that is not the last one
}

const (
	laterRuns = 5
	maxObject = 5 << 40
)

// newRuns divides the part numbers of a service. The first run has half of them.
func newRuns(l Limits, partSize int64) []run {
	first := max(l.MinPart, partSize/8, 1)
	most := max(l.MaxPart/2, first)
	for growth := int64(8); ; growth *= 2 {
		count, r := max(l.MaxParts/2, 1), run{least: first}
		runs := []run{r}
		for range laterRuns {
			r = run{r.number + count, r.start + int64(count)*r.least, min(r.least*growth, most)}
			runs = append(runs, r)
			count = max(l.MaxParts/2/laterRuns, 1)
		}
		if r.start+int64(count)*r.least >= maxObject || growth >= most {
			return runs
		}
	}
}

// run returns the run of an offset.
func (s *Store) run(off int64) run {
	at := 0
	for at+1 < len(s.runs) && off >= s.runs[at+1].start {
		at++
	}
	return s.runs[at]
}

// leastPart returns the fewest bytes of a part at an offset, if it is not the last one.
func (s *Store) leastPart(off int64) int64 { return s.run(off).least }

// partNumber returns the number of the part at an offset.
func (s *Store) partNumber(off int64) int {
	r := s.run(off)
	return r.number + int(min((off-r.start)/r.least, 1<<30)) + 1
}

// partLength returns the length of the first part of n bytes at an offset. It is at most
// twice the size of a part, and leaves a rest that can be a part.
func (s *Store) partLength(off, n int64) int64 {
	full := max(s.o.PartSize, s.leastPart(off))
	if n < full+max(full, s.leastPart(off+full)) {
		return n
	}
	return full
}
