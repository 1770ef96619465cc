package view

import (
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/castlog"
	"github.com/go-orbax/orbax/internal/transfer"
)

// directBytes is the least size of a part that is read straight to its place. Smaller
// parts are read together with their neighbours and then decoded, which takes less memory
// for each.
const directBytes = 32 << 10

// direct makes r read the part straight into dst, if the form of the part allows it.
func direct(r *transfer.Read, part *Chunk, dst []byte) {
	if step, done := part.Form.Direct(part, dst); done != nil {
		r.Dst, r.Step = dst, step
		r.Done = func(rest []byte) error { return part.describe(done(rest)) }
	}
}

// deliver decodes a part and copies its elements to all places that want them.
func (s *source) deliver(part *Chunk, placed []placement, enc []byte) error {
	if dst, ok := s.run(part, placed); ok {
		return part.Form.Decode(part, dst, enc)
	}
	return part.decode(s.dtype, enc, func(elements []byte) error { return s.placeAll(part, placed, elements) })
}

// placeAll copies the decoded elements of a part to all places that want them.
func (s *source) placeAll(part *Chunk, placed []placement, elements []byte) error {
	for len(placed) > 0 {
		first, n := &placed[0], 1
		for n < len(placed) && placed[n].leaf == first.leaf && slices.Equal(placed[n].casts, first.casts) {
			n++ // the shards of a leaf: their elements are converted once
		}
		if err := s.place(part, placed[:n], elements); err != nil {
			return err
		}
		placed = placed[n:]
	}
	return nil
}

// place copies the decoded elements of a part to places that want the same casts.
func (s *source) place(part *Chunk, placed []placement, elements []byte) error {
	return withCasts(elements, s.dtype, placed[0].casts, logOf(s.log, placed[0].leaf), func(b []byte, d array.DType) error {
		for i := range placed {
			pl := &placed[i]
			if err := pl.view.Scatter(pl.dst, pl.dstShape, pl.dstOff, b, part.Offset, part.Size, d.Size()); err != nil {
				return err
			}
		}
		return nil
	})
}

// castLog is a castlog.Log of one leaf.
type castLog func(dst []byte, dstType array.DType, src []byte, srcType array.DType)

// logOf returns the log of a leaf, or nil if there is none.
func logOf(log castlog.Log, leaf string) castLog {
	if log == nil {
		return nil
	}
	return func(dst []byte, dstType array.DType, src []byte, srcType array.DType) {
		log(leaf, dst, dstType, src, srcType)
	}
}

// withCasts converts elements of type d to each of casts in turn, and calls f with the
// result. log, unless it is nil, gets each conversion.
func withCasts(elements []byte, d array.DType, casts []array.DType, log castLog, f func([]byte, array.DType) error) error {
	if len(casts) == 0 {
		return f(elements, d)
	}
	to := casts[0]
	return transfer.WithScratch(len(elements)/d.Size()*to.Size(), func(buf []byte) error {
		if err := array.Convert(buf, to, elements, d); err != nil {
			return err
		}
		if log != nil {
			log(buf, to, elements, d)
		}
		return withCasts(buf, to, casts[1:], log, f)
	})
}
