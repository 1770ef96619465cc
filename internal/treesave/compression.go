package treesave

import (
	"context"
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
	var arrays []*planned
	for i := range p.arrays {
		if a := &p.arrays[i]; a.automatic() {
			arrays = append(arrays, a)
		}
	}
	if len(arrays) == 0 {
		return nil
	}
	need := func(*planned) int64 { return samplePieces * pieceSize }
	err := transfer.Each(ctx, e, slices.Values(arrays), need, func(ctx context.Context, a *planned, memory []byte) error {
		sample, err := a.sample(ctx, memory)
		a.compression = a.compression.Choose(sample)
		return fault.OfLeaf(a.name, err)
	})
	if err != nil {
		return err
	}
	for _, a := range arrays {
		m := a.zarr
		o := zarr.Options{Shape: m.Shape, ChunkShape: m.ChunkShape, DType: m.DType, Compression: a.compression}
		if a.zarr, err = p.metadata(o); err != nil {
			return fault.OfLeaf(a.name, err)
		}
	}
	return nil
}

func (a *planned) automatic() bool { return a.compression == zarr.Auto() }

// sample reads pieces from all over the array, in the form in which they would be stored.
func (a *planned) sample(ctx context.Context, memory []byte) ([]byte, error) {
	shape, item := a.zarr.Shape, a.src.DType().Size()
	total, err := array.NumElements(shape)
	if err != nil || total == 0 {
		return nil, err
	}
	size, n := make([]int, len(shape)), 1 // of a piece
	for i := len(shape) - 1; i >= 0; i-- {
		size[i] = min(shape[i], max(1, pieceSize/item/n))
		n *= size[i]
	}
	sample := memory[:0]
	pieces := min(samplePieces, (total-1)/n+1)
	for k := range pieces {
		off := make([]int, len(shape))
		for i, rest := len(shape)-1, k*(total/pieces); i >= 0; i-- {
			off[i] = min(rest%shape[i], shape[i]-size[i])
			rest /= shape[i]
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
