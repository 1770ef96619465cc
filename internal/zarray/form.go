package zarray

import (
	"fmt"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/places"
	"github.com/go-orbax/orbax/internal/rawarray"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/view"
	"github.com/go-orbax/orbax/zarr"
)

// chunkForm is the form of the chunks of an array, or of the inner chunks of its shards.
type chunkForm struct {
	*zarr.Metadata
	seal   string // seal of the chunk that belongs here; "" if it is not known
	sparse bool   // the writer may have left out chunks
}

// parts yields the chunk at p: the whole chunk, or, if it can be read piecewise, only the
// pieces that overlap the box. It reports whether more is wanted.
func (f chunkForm) parts(dir *view.Dir, p *place, c Chunk, off, size []int, yield func(*view.Chunk, error) bool) bool {
	whole := view.Chunk{
		Offset: p.off, Size: p.size, Index: p.index, Form: f, Inline: c.Inline,
		Dir: dir, File: c.Extent.File, At: c.Extent.Offset, Length: c.Extent.Length,
	}
	if c.Inline != nil || !f.Raw() || c.Len() < dividedChunk {
		return yield(&whole, nil)
	}
	return rawarray.Form{DType: f.DType}.Pieces(whole, f.ChunkShape, off, size, yield)
}

// Decode decodes a chunk without its padding and compares its seal.
func (f chunkForm) Decode(p *view.Chunk, dst, enc []byte) error {
	if err := f.decode(p, dst, enc); err != nil {
		return err
	}
	return places.CheckSeal(enc, f.seal)
}

func (f chunkForm) decode(p *view.Chunk, dst, enc []byte) error {
	if slices.Equal(p.Size, f.ChunkShape) {
		return f.DecodeChunk(p.Index, dst, enc)
	}
	if err := f.CheckEncoded(enc); err != nil {
		return err
	}
	return transfer.WithScratch(f.ChunkBytes(), func(buf []byte) error {
		if err := f.DecodeChunk(p.Index, buf, enc); err != nil {
			return err
		}
		origin := make([]int, len(p.Size))
		return array.CopyRegion(dst, p.Size, origin, buf, f.ChunkShape, origin, p.Size, f.DType.Size())
	})
}

// Check refuses bytes that cannot decode to the size of a chunk.
func (f chunkForm) Check(_ *view.Chunk, enc []byte) error { return f.CheckEncoded(enc) }

// Direct reads a chunk whose stored bytes are the elements themselves, and checks them on
// the way.
func (f chunkForm) Direct(p *view.Chunk, dst []byte) (step func([]byte), done func([]byte) error) {
	direct, ok := f.Metadata.Direct(p.Index)
	if !ok {
		return nil, nil
	}
	return direct.Step, func(rest []byte) error {
		if err := direct.Done(dst, rest); err != nil {
			return err
		}
		return places.CheckSeal(rest, f.seal)
	}
}

// Describe adds the name of the chunk to err.
func (f chunkForm) Describe(p *view.Chunk, err error) error {
	return fmt.Errorf("chunk %s: %w", f.Key(p.Index), absent(err, f.sparse))
}

// absent returns the error of decoding. For an absent inner chunk it replaces the error,
// so that it does not say that the checkpoint does not exist.
func absent(err error, sparse bool) error {
	if !ckdir.NotExist(err) {
		return err
	}
	return AdviseFill(fmt.Errorf("%w: %v", fault.ErrCorrupt, err), sparse)
}

// missing returns the chunk in place of one that is not stored.
func missing(m *zarr.Metadata, off, size []int) *view.Chunk {
	return &view.Chunk{Offset: off, Size: size, Form: missingForm{m}, Inline: []byte{}}
}

// missingForm is the form of chunks that are not stored: every element has the fill
// value.
type missingForm struct{ *zarr.Metadata }

func (f missingForm) Decode(_ *view.Chunk, dst, _ []byte) error {
	f.Fill(dst)
	return nil
}

func (f missingForm) Direct(*view.Chunk, []byte) (func([]byte), func([]byte) error) { return nil, nil }

func (f missingForm) Describe(_ *view.Chunk, err error) error { return err }
