package treesave

import (
	"context"
	"fmt"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/transfer"
)

// snapshotter is an [array.Reader] that returns a stable copy of itself.
type snapshotter interface {
	Snapshot(ctx context.Context) (array.Reader, error)
}

// Snapshot replaces arrays that may change by copies. e makes the copies in memory, or in
// new memory if memory is nil.
func (p *Plan) Snapshot(ctx context.Context, e *transfer.Engine, memory *transfer.Memory) error {
	var src [][]byte
	var of []int // for each array, the number of its memory in src, or -1 if it is not copied
	seen := map[memoryID]int{}
	frozen := p.frozen()
	for i := range p.arrays {
		of = append(of, -1)
		a := &p.arrays[i]
		switch s := a.src.(type) {
		case *array.Array:
			id, ok := memoryOf(s)
			if !ok || frozen[id] {
				continue
			}
			if _, ok := seen[id]; !ok {
				seen[id] = len(src)
				src = append(src, s.Bytes())
			}
			of[i] = seen[id]
		case snapshotter:
			stable, err := s.Snapshot(ctx)
			if err == nil {
				err = sameArray(stable, a.src)
			}
			if err != nil {
				return fault.OfLeaf(a.name, err)
			}
			a.src = stable
		}
	}
	copies, err := e.Copy(ctx, src, memory)
	if err != nil {
		return err
	}
	for i, n := range of {
		if n < 0 {
			continue
		}
		a := &p.arrays[i]
		if a.src, err = array.New(a.src.DType(), a.src.Shape(), copies[n]); err != nil {
			return err
		}
		a.copied = true
	}
	return nil
}

// frozen returns the memory that an array of the plan promises not to change.
func (p *Plan) frozen() map[memoryID]bool {
	frozen := map[memoryID]bool{}
	for i := range p.arrays {
		if a, ok := p.arrays[i].src.(*array.Array); ok && a.Frozen() {
			if id, ok := memoryOf(a); ok {
				frozen[id] = true
			}
		}
	}
	return frozen
}

// sameArray refuses a snapshot that does not have the dtype and shape of its array.
func sameArray(got, want array.Reader) error {
	if got == nil || got.DType() != want.DType() || !slices.Equal(got.Shape(), want.Shape()) {
		return fmt.Errorf("%w: the snapshot is %v, not %v of %v", fault.ErrShape, got, want.DType(), want.Shape())
	}
	return nil
}
