package view

import (
	"context"
	"sync"

	"github.com/go-orbax/orbax/internal/transfer"
)

// Verify reads and decodes the data of all arrays of the tree, in bounded memory. It
// returns the errors of each leaf.
func (t *Tree) Verify(ctx context.Context) []error {
	var mu sync.Mutex
	var errs []error
	report := func(err error) error {
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, err)
		return nil
	}
	if err := mayRead(ctx, t.leaves); err != nil {
		return []error{err}
	}
	p := &planner{}
	for _, l := range t.leaves {
		if err := l.meta.err(); err != nil {
			report(err)
		}
		for i := range l.pieces {
			if err := l.planVerify(ctx, &l.pieces[i], p, report); err != nil {
				report(l.wrap(err))
			}
			if err := ctx.Err(); err != nil {
				report(err)
				return errs
			}
		}
	}
	if err := p.run(ctx); err != nil {
		report(err)
	}
	return errs
}

func (l *Leaf) planVerify(ctx context.Context, pc *piece, p *planner, report func(error) error) error {
	off, size := pc.view.Bounds()
	for part, err := range pc.array.Chunks(ctx, off, size) {
		if err != nil {
			return err
		}
		err = p.addChunk(part, transfer.Read{Leaf: l.meta.Path.String(), Scratch: part.scratch(pc.dtype, nil), Failed: report, Done: func(enc []byte) error {
			return part.describe(part.decode(pc.dtype, enc, func([]byte) error { return nil }))
		}})
		if err != nil {
			report(l.wrap(err))
		}
		if err := p.runFull(ctx, maxPlanned); err != nil {
			return err
		}
	}
	return nil
}
