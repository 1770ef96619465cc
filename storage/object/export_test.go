package object

import (
	"context"

	"github.com/go-orbax/orbax/storage"
)

// PartNumber, PartLength and LeastPart are the arithmetic of parts.
func (s *Store) PartNumber(off int64) int      { return s.partNumber(off) }
func (s *Store) PartLength(off, n int64) int64 { return s.partLength(off, n) }
func (s *Store) LeastPart(off int64) int64     { return s.leastPart(off) }
func (s *Store) PartSize() int64               { return s.o.PartSize }
func (s *Store) Perform(ctx context.Context, f func(context.Context) error) error {
	return s.try(ctx, f)
}
func (s *Store) Move(ctx context.Context, bytes int64, f func(context.Context) error) error {
	return s.perform(ctx, effort{bytes: bytes}, f)
}

// Waiting returns how many bytes of a file are held in memory.
func Waiting(w storage.Writer) (n int) {
	f := w.(*writer)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.waits {
		for _, b := range p.copies {
			n += cap(b)
		}
	}
	return n
}

// Gate is a gate.
type Gate = gate

func NewGate(most int) *Gate                    { return newGate(most) }
func (g *Gate) Enter(ctx context.Context) error { return g.enter(ctx) }
func (g *Gate) Leave(wants bool) { // that the service wants fewer
	o := passed
	if wants {
		o = throttled
	}
	g.leave(o)
}

// Inside returns how many requests are under way, wait, and may be under way.
func (g *Gate) Inside() (inside, waiting int, bound float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inside, len(g.waiting), g.bound
}

// ClaimKey and ClaimDir name the claim of a directory.
func ClaimKey(dir string) string { return claimKey(dir) }
func ClaimDir(dir string) string { return claimDir(dir) }
