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
	seen := map[memoryID]int{} // the number of each memory in src
	frozen := p.frozen()
	for i := range p.arrays {
		a := &p.arrays[i]
		if s, ok := a.src.(snapshotter); ok {
			stable, err := s.Snapshot(ctx)
			if err == nil {
				err = sameArray(stable, a.src)
			}
			if err != nil {
				return fault.OfLeaf(a.name, err)
			}
			a.src = stable
			continue
		}
		for _, m := range memoriesOf(a.src) {
			id, ok := memoryOf(m)
			if _, known := seen[id]; ok && !known && !frozen[id] {
				seen[id] = len(src)
				src = append(src, m.Bytes())
			}
		}
	}
	copies, err := e.Copy(ctx, src, memory)
	if err != nil {
		return err
	}
	for i := range p.arrays {
		if err := p.arrays[i].replace(seen, copies); err != nil {
			return err
		}
	}
	return nil
}

// replace replaces the memory of the array by its copies.
func (a *planned) replace(seen map[memoryID]int, copies [][]byte) (err error) {
	all := true
	copied := func(m *array.Array) (*array.Array, error) {
		id, ok := memoryOf(m)
		n, known := seen[id]
		if !ok || !known {
			all = all && !ok // memory without elements never changes
			return m, nil
		}
		return array.New(m.DType(), m.Shape(), copies[n])
	}
	switch src := a.src.(type) {
	case *array.Array:
		a.src, err = copied(src)
	case *array.Sharded:
		shards := make([]array.Shard, len(src.Shards()))
		for i, s := range src.Shards() {
			if s.Array, err = copied(s.Array); err != nil {
				return err
			}
			shards[i] = s
		}
		a.src, err = array.NewSharded(src.DType(), src.Shape(), src.Sharding(), shards...)
	}
	a.copied = all && len(memoriesOf(a.src)) > 0
	return err
}

// frozen returns the memory that an array of the plan promises not to change.
func (p *Plan) frozen() map[memoryID]bool {
	frozen := map[memoryID]bool{}
	for i := range p.arrays {
		for _, m := range memoriesOf(p.arrays[i].src) {
			if id, ok := memoryOf(m); ok && m.Frozen() {
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
