package handover

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	_ "github.com/go-orbax/orbax/internal/testenv/fewchecks"
)

// All holders find the same parts, which cover each piece once, begin where the piece may
// be divided, and are of equal size as far as that goes.
func TestDivide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 7).Draw(t, "processes")
		type global struct {
			Piece
			id int
		}
		var all []global
		for id := range rapid.IntRange(0, 12).Draw(t, "pieces") {
			g := global{Piece{
				Rows: rapid.IntRange(1, 40).Draw(t, "rows"), First: rapid.IntRange(0, 9).Draw(t, "first"), Step: rapid.IntRange(0, 5).Draw(t, "step"),
			}, id}
			g.Data = make([]byte, g.Rows*rapid.IntRange(0, 9).Draw(t, "bytes of a row"))
			for rank := range size {
				if rapid.Bool().Draw(t, "holds") {
					g.Holders = append(g.Holders, rank)
				}
			}
			if len(g.Holders) > 0 || rapid.Bool().Draw(t, "held by all") {
				all = append(all, g)
			}
		}
		most := int64(rapid.IntRange(1, 200).Draw(t, "most"))
		type found struct{ id, from, to, owner int }
		var parts [][]found // by process
		for rank := range size {
			var mine []Piece
			var ids []int
			for _, g := range all {
				if _, holds := slices.BinarySearch(g.Holders, rank); g.Holders == nil || holds {
					mine = append(mine, g.Piece)
					ids = append(ids, g.id)
				}
			}
			var f []found
			for owner, spans := range divide(mine, rank, size, most) {
				for _, s := range spans {
					p := mine[s.Piece]
					f = append(f, found{ids[s.Piece], s.From, s.To, owner})
					if s.From > 0 && (p.Step == 0 || (p.First+s.From)%p.Step != 0) {
						t.Fatalf("%v is divided at %d", p, s.From)
					}
					if each := len(p.Data) / p.Rows; int64((s.To-s.From)*each) > max(most, int64(p.Step*each)) && p.Step > 0 {
						t.Fatalf("rows %d to %d of %d bytes, at most %d are wanted", s.From, s.To, each, most)
					}
				}
			}
			slices.SortFunc(f, func(a, b found) int { return slices.Compare([]int{a.id, a.from}, []int{b.id, b.from}) })
			parts = append(parts, f)
		}
		for _, g := range all {
			if len(g.Data) == 0 {
				continue
			}
			var first []found
			for rank := range size {
				if g.Holders != nil && !slices.Contains(g.Holders, rank) {
					continue
				}
				var f []found
				row := 0
				for _, p := range parts[rank] {
					if p.id != g.id {
						continue
					}
					if f = append(f, p); p.from != row || p.to <= p.from {
						t.Fatalf("%v is divided into %v", g, f)
					}
					row = p.to
				}
				if row != g.Rows || first != nil && !slices.Equal(f, first) {
					t.Fatalf("%v is divided into %v, in another process into %v", g, f, first)
				}
				first = f
			}
		}
	})
}

// Without limits for the places of cuts all processes read the same amount.
func TestDivideEvenly(t *testing.T) {
	var pieces []Piece
	total := 0
	for i := range 100 {
		p := Piece{Data: make([]byte, 8*(i*i+1)), Rows: i*i + 1, Step: 1}
		total += len(p.Data)
		pieces = append(pieces, p)
	}
	for rank, spans := range divide(pieces, 0, 7, 1<<20) {
		n := 0
		for _, s := range spans {
			n += len(s.data)
		}
		if n < total/7-8 || n > total/7+8 {
			t.Errorf("process %d reads %d of %d bytes", rank, n, total)
		}
	}
}
