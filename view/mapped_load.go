package view

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/mmap"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

// run maps the planned leaves, and drops those that cannot be mapped from the plan. It
// returns an error only if ctx ends or the process has no more addresses. If no leaf is
// left, it returns a nil space.
func (p *mapPlan) run(ctx context.Context) (*mmap.Space, error) {
	maps := p.settle(ctx)
	space, err := mmap.Reserve(p.layOut(), maps)
	if errors.Is(err, mmap.ErrAddresses) {
		// Do not read the leaves instead: a program that maps everything it loads, and
		// has mapped so much, has no room for them in its own memory.
		return nil, fmt.Errorf("%w: %w; start the process anew, or load without mapping", fault.ErrNoMemory, err)
	}
	if err != nil { // also if no leaf is left
		p.leaves = nil
		return nil, ctx.Err()
	}
	for _, f := range p.order {
		if ctx.Err() != nil {
			break
		}
		if f.size > 0 && !f.bad {
			f.bad = f.mapTo(ctx, space) != nil
		}
	}
	p.drop((*mappedLeaf).bad)
	if len(p.leaves) == 0 || ctx.Err() != nil {
		_ = space.Release()
		return nil, ctx.Err()
	}
	return space, nil
}

// layOut gives every range its place in the space, and returns the size of the space: 0
// if it would be too large.
func (p *mapPlan) layOut() int {
	end := 0
	place := func(n int64) (at int, ok bool) {
		if n > int64(mmap.MaxSpace-end) {
			return 0, false
		}
		at = end
		end += mmap.RoundUp(int(n))
		return at, true
	}
	var ok bool
	for _, f := range p.order {
		if f.bad || f.size == 0 {
			continue
		}
		f.lo -= f.lo % int64(mmap.PageSize())
		if f.at, ok = place(f.hi - f.lo); !ok {
			return 0
		}
	}
	for i := range p.leaves {
		m := &p.leaves[i]
		if len(m.runs) == 1 {
			continue
		}
		last := m.runs[len(m.runs)-1]
		if m.at, ok = place(int64(last.to + last.n)); !ok {
			return 0
		}
		for _, r := range m.runs {
			r.to += m.at
			r.file.apart = append(r.file.apart, r)
		}
	}
	return end
}

// errNotMappable is the reason why a file is not mapped.
var errNotMappable = errors.New("the file cannot be mapped")

// mapTo maps the file.
func (f *mappedFile) mapTo(ctx context.Context, space *mmap.Space) error {
	r, err := transfer.Open(ctx, f.dir.At, f.name)
	if err != nil {
		return err
	}
	defer r.Close()
	fr, ok := r.(storage.FileReader)
	if !ok || fr.File() == nil || r.Size() < f.size {
		return errNotMappable
	}
	file := fr.File()
	if f.hi > f.lo {
		if err := space.Map(f.at, file, f.lo, int(f.hi-f.lo)); err != nil {
			return err
		}
	}
	for _, run := range f.apart {
		if err := space.Map(run.to, file, run.off, run.n); err != nil {
			return err
		}
	}
	return nil
}

// memory returns the elements of the leaf.
func (m *mappedLeaf) memory(space *mmap.Space) []byte {
	if len(m.runs) == 1 {
		return m.runs[0].file.memory(space, m.runs[0].off, int64(m.runs[0].n))
	}
	last := m.runs[len(m.runs)-1]
	return space.Bytes(m.at, last.to+last.n)
}

// memory returns n bytes of the file, from offset off, which lie in its mapped range.
func (f *mappedFile) memory(space *mmap.Space, off, n int64) []byte {
	return space.Bytes(f.at+int(off-f.lo), int(n))
}

// addChecks adds the checks that verify the leaf, whose elements are in data. Chunks
// without a checksum need no check later; addChecks verifies the bytes after their
// elements at once.
func (m *mappedLeaf) addChecks(checks []check, space *mmap.Space, data []byte) (all []check, ok bool) {
	added := checks
	for _, part := range m.parts {
		c := check{leaf: m.leaf, part: part.Chunk, data: data[part.to:][:part.n:part.n]}
		if rest := part.Length - int64(part.n); rest > 0 {
			c.rest = part.file.memory(space, part.off+int64(part.n), rest)
		}
		if part.summed {
			added = append(added, c)
			continue
		}
		if _, done := part.Form.Direct(part.Chunk, c.data); done(c.rest) != nil {
			return checks, false
		}
	}
	return added, true
}

// engine returns the engine that the load uses.
func (m *mappedLeaf) engine() *transfer.Engine { return m.runs[0].file.dir.Engine }
