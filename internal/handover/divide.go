package handover

import (
	"fmt"
	"slices"
	"sort"
)

// Processes divide the reading of their pieces without a message. The pieces that the same
// processes hold lie on a line, one after the other, as long as their bytes. The line is
// cut into equal parts, one for each of these processes. Each cut then moves to the
// nearest place where a piece may be divided, so that no process reads bytes of another
// one only because they are stored together.

// Piece is memory that the processes which hold it want with the same contents.
type Piece struct {
	// Holders are the ranks of the processes that hold the piece, ascending, this one
	// among them. nil stands for all.
	Holders []int
	// Data is the memory. It has Rows rows of equal size.
	Data []byte
	Rows int
	// The piece may be divided before row r if First + r is a multiple of Step. With a
	// Step of 0 it is not divided.
	First, Step int
}

// Part is a run of rows of a piece, the number of which Piece is.
type Part struct{ Piece, From, To int }

// span is a part that one of the holders of its piece reads and sends to the others.
type span struct {
	Part
	holders []int
	data    []byte
}

// partBytes is about the size of the largest part. A part is sent when all of it has been
// read.
const partBytes = 32 << 20

// divide returns the parts that each process reads, as far as this process holds them. Two
// processes find the same parts, in the same order, for what both of them hold.
func divide(pieces []Piece, rank, size int, most int64) map[int][]span {
	all := make([]int, size)
	for i := range all {
		all[i] = i
	}
	type line struct {
		holders   []int
		bytes, at int64
	}
	lines := map[string]*line{}
	known := map[*int]*line{} // many pieces share their Holders
	of := make([]*line, len(pieces))
	for i, p := range pieces {
		holders := p.Holders
		if holders == nil {
			holders = all
		}
		l := known[&holders[0]]
		if l == nil {
			key := fmt.Sprint(holders)
			if l = lines[key]; l == nil {
				l = &line{holders: holders}
				lines[key] = l
			}
			known[&holders[0]] = l
		}
		l.bytes += int64(len(p.Data))
		of[i] = l
	}
	spans := map[int][]span{}
	for i, p := range pieces {
		if len(p.Data) == 0 {
			continue
		}
		l := of[i]
		n := int64(len(l.holders))
		cut := func(k int64) int64 { return l.bytes/n*k + l.bytes%n*k/n }
		k := int64(sort.Search(len(l.holders), func(k int) bool { return cut(int64(k)) > l.at }) - 1)
		for row := 0; row < p.Rows; k++ {
			end := p.Rows
			if k < n-1 {
				end = max(row, p.divide(cut(k+1)-l.at))
			}
			for _, part := range p.split(i, row, end, most) {
				owner := l.holders[k]
				each := len(p.Data) / p.Rows
				spans[owner] = append(spans[owner], span{part, l.holders, p.Data[part.From*each : part.To*each]})
			}
			row = end
		}
		l.at += int64(len(p.Data))
	}
	return spans
}

// divide returns the row before which a cut after some bytes divides the piece.
func (p *Piece) divide(bytes int64) int {
	size := int64(len(p.Data))
	switch {
	case bytes <= 0:
		return 0
	case bytes >= size:
		return p.Rows
	case p.Step <= 0:
		if bytes >= size-bytes {
			return p.Rows
		}
		return 0
	}
	each := size / int64(p.Rows)
	row := p.First + int((bytes+each/2)/each)
	below := row - row%p.Step
	if row-below > p.Step-(row-below) {
		below += p.Step
	}
	return min(max(below-p.First, 0), p.Rows)
}

// split divides some rows of piece number i into parts of at most about most bytes.
func (p *Piece) split(i, from, to int, most int64) (parts []Part) {
	if from >= to {
		return nil
	}
	rows := to - from
	if p.Step > 0 {
		each := int64(len(p.Data) / p.Rows)
		rows = int(max(1, min(most/max(each, 1), int64(rows))))
	}
	for from < to {
		next := min(from+rows, to)
		if next < to { // back to where the piece may be divided, or on to there
			back := (p.First + next) % p.Step
			if next-back > from {
				next -= back
			} else {
				next = min(next-back+p.Step, to)
			}
		}
		parts = append(parts, Part{i, from, next})
		from = next
	}
	return parts
}

// sentTo reports whether a process gets the span.
func (s *span) sentTo(rank int) bool {
	_, ok := slices.BinarySearch(s.holders, rank)
	return ok
}
