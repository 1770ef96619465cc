package treesave

import (
	"context"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/reuse"
	"github.com/go-orbax/orbax/internal/transfer"
)

// prints are the fingerprints of a plan's chunks.
type prints struct {
	encodings []reuse.EncodingID    // of the arrays
	contents  [][]reuse.Fingerprint // of their chunks, in order; nil for an array without fingerprints
}

// id returns the ID of the n-th chunk of an array that this process writes. ok is false if the chunk has no fingerprint.
func (p *prints) id(array, n int) (id reuse.ID, ok bool) {
	if n >= len(p.contents[array]) {
		return id, false
	}
	return reuse.ID{Encoding: p.encodings[array], Content: p.contents[array][n]}, true
}

// wanted returns the IDs of all chunks.
func (p *prints) wanted() map[reuse.ID]bool {
	ids := map[reuse.ID]bool{}
	for i, contents := range p.contents {
		for _, c := range contents {
			ids[reuse.ID{Encoding: p.encodings[i], Content: c}] = true
		}
	}
	return ids
}

// printable reports whether the chunks of the array get fingerprints.
func (a *planned) printable() bool {
	return a.isInMemory() && a.zarr.EncodedBound() > layout.MaxInline
}

// fingerprint computes the fingerprints of the plan's chunks.
func (p *Plan) fingerprint(ctx context.Context, e *transfer.Engine, print *reuse.Printer) (*prints, error) {
	all := &prints{make([]reuse.EncodingID, len(p.arrays)), make([][]reuse.Fingerprint, len(p.arrays))}
	tied := p.tied()
	ids := map[reuse.Encoding]reuse.EncodingID{}
	for i := range p.arrays {
		a := &p.arrays[i]
		if !a.printable() {
			continue
		}
		if first := tied[i]; first != i {
			all.encodings[i], all.contents[i] = all.encodings[first], all.contents[first]
			continue
		}
		encoding := reuse.Encoding{DType: a.src.DType(), Zarr: a.zarr}
		if _, ok := ids[encoding]; !ok {
			ids[encoding] = encoding.ID()
		}
		all.encodings[i] = ids[encoding]
		all.contents[i] = make([]reuse.Fingerprint, a.count())
	}
	type job struct {
		array *planned
		index []int
		to    *reuse.Fingerprint
	}
	jobs := func(yield func(job) bool) {
		for i, contents := range all.contents {
			if contents == nil || tied[i] != i {
				continue
			}
			n := 0
			for index := range p.arrays[i].ownIndexes() {
				if !yield(job{&p.arrays[i], index, &contents[n]}) {
					return
				}
				n++
			}
		}
	}
	e.Counters().Begin(transfer.Digesting, 0)
	need := func(j job) int64 {
		if j.array.inMemory(j.array.zarr.ChunkRegion(j.index)) != nil {
			return 0
		}
		return int64(j.array.sourceBytes())
	}
	return all, transfer.Each(ctx, e, jobs, need, func(ctx context.Context, j job, memory []byte) error {
		off, size := j.array.zarr.ChunkRegion(j.index)
		chunk := j.array.inMemory(off, size)
		if chunk == nil {
			chunk = memory
			if err := j.array.gather(ctx, chunk, off, size); err != nil {
				return fault.OfLeaf(j.array.name, err)
			}
		}
		*j.to = print.Of(chunk)
		return nil
	})
}
