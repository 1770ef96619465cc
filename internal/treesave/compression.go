package treesave

import (
	"context"
	"fmt"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/zarr"
)

const (
	samplePieces = 8       // of an array
	pieceSize    = 4 << 10 // bytes
)

// choose chooses the compression of the arrays for which it is automatic, by samples of
// the arrays. It runs when the arrays are written: it takes time for which the caller of
// an asynchronous save need not wait.
func (p *Plan) choose(ctx context.Context, e *transfer.Engine) error {
	choices, err := p.Sample(ctx, e)
	if err != nil {
		return err
	}
	return p.Choose(choices)
}

// These are the choices of a compression.
const (
	noChoice = iota
	chosenNone
	chosenZstd
)

// Sample returns a choice for each array with automatic compression. If several processes
// save together, it chooses for the arrays of which this process writes the first chunk.
func (p *Plan) Sample(ctx context.Context, e *transfer.Engine) ([]byte, error) {
	type job struct {
		array  *planned
		choice *byte
	}
	arrays := p.automatic()
	choices := make([]byte, len(arrays))
	var jobs []job
	for i, a := range arrays {
		if p.describes(a) {
			jobs = append(jobs, job{a, &choices[i]})
		}
	}
	if len(jobs) == 0 {
		return choices, nil
	}
	need := func(job) int64 { return samplePieces * pieceSize }
	return choices, transfer.Each(ctx, e, slices.Values(jobs), need, func(ctx context.Context, j job, memory []byte) error {
		sample, err := j.array.sample(ctx, memory)
		*j.choice = chosenNone
		if j.array.compression.Choose(sample) != (zarr.Compression{}) {
			*j.choice = chosenZstd
		}
		return fault.OfLeaf(j.array.name, err)
	})
}

// Choose sets the compression of the arrays for which it is automatic.
func (p *Plan) Choose(choices []byte) (err error) {
	arrays := p.automatic()
	if len(choices) != len(arrays) {
		return fmt.Errorf("%w: %d arrays have automatic compression, and %d choices were made", fault.ErrStructure, len(arrays), len(choices))
	}
	for i, a := range arrays {
		a.compression = zarr.Compression{}
		if choices[i] == chosenZstd {
			a.compression = zarr.Zstd(1)
		}
		m := a.zarr
		o := zarr.Options{Shape: m.Shape, ChunkShape: m.ChunkShape, DType: m.DType, Compression: a.compression}
		if a.zarr, err = p.metadata(o); err != nil {
			return fault.OfLeaf(a.name, err)
		}
	}
	return nil
}

// automatic returns the arrays whose compression is automatic and has not been chosen.
func (p *Plan) automatic() (arrays []*planned) {
	for i := range p.arrays {
		if a := &p.arrays[i]; a.automatic() {
			arrays = append(arrays, a)
		}
	}
	return arrays
}

func (a *planned) automatic() bool { return a.compression == zarr.Auto() }

// sample reads pieces from all over the array, or from the chunks that this process writes
// of it, in the form in which they would be stored.
func (a *planned) sample(ctx context.Context, memory []byte) ([]byte, error) {
	item := a.src.DType().Size()
	total, err := array.NumElements(a.zarr.Shape)
	if err != nil || total == 0 {
		return nil, err
	}
	_, n := pieceOf(a.zarr.Shape, item)
	pieces := min(samplePieces, (total-1)/n+1)
	sample := memory[:0]
	for k := range pieces {
		begin, within := make([]int, len(a.zarr.Shape)), a.zarr.Shape
		if a.part {
			begin, within = a.zarr.ChunkRegion(a.index(a.own[k*len(a.own)/pieces]))
		}
		size, n := pieceOf(within, item)
		inside, err := array.NumElements(within)
		if err != nil {
			return nil, err
		}
		off := make([]int, len(within))
		for i, rest := len(within)-1, k*(inside/pieces); i >= 0; i-- {
			off[i] = begin[i] + min(rest%within[i], within[i]-size[i])
			rest /= within[i]
		}
		piece := sample[len(sample) : len(sample)+n*item]
		if err := a.src.ReadRegion(ctx, piece, off, size); err != nil {
			return nil, err
		}
		sample = sample[:len(sample)+n*item]
	}
	if a.src.DType() == a.zarr.DType {
		return sample, nil
	}
	stored := make([]byte, len(sample)/item*a.zarr.DType.Size())
	return stored, array.Convert(stored, a.zarr.DType, sample, a.src.DType())
}

// pieceOf returns the shape of a piece of an array that is sampled, and the number of its
// elements.
func pieceOf(shape []int, item int) (size []int, n int) {
	size, n = make([]int, len(shape)), 1
	for i := len(shape) - 1; i >= 0; i-- {
		size[i] = min(shape[i], max(1, pieceSize/item/n))
		n *= size[i]
	}
	return size, n
}
