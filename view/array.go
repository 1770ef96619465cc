package view

import (
	"context"
	"iter"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/region"
	"github.com/go-orbax/orbax/internal/transfer"
)

// Array is an array as a format stores it: in chunks that are read and decoded one by one.
// Several goroutines may call its methods.
type Array interface {
	// Chunks yields the chunks that hold the box of size elements at off, and as few other
	// chunks as possible. The chunks do not overlap. Each is new, so the caller may keep
	// it. Chunks may read an index but reads no elements. It ends at the first error.
	// There may be more chunks than fit in memory.
	Chunks(ctx context.Context, off, size []int) iter.Seq2[*Chunk, error]
}

// Chunk is a chunk of a stored array, or an inner chunk of a shard. It says which box of
// the array it holds, and where its bytes are.
type Chunk struct {
	Offset, Size []int // the box
	Form         Form
	Index        []int // for use by the Form
	// Inline holds the stored bytes if they are known already. Otherwise they are Length
	// bytes from offset At of the file File in Dir.
	Inline     []byte
	Dir        *Dir
	File       string
	At, Length int64
}

// Form is the way in which the elements of chunks are stored.
type Form interface {
	// Decode decodes enc, the stored bytes of a chunk, into dst. It fills dst with the
	// elements of the chunk's box, row-major, in the form that package array requires.
	Decode(p *Chunk, dst, enc []byte) error

	// Direct lets the caller read a chunk into dst without a second copy. done is nil if
	// the stored bytes of the chunk do not begin with the elements of its box as they are
	// in memory. Otherwise the caller reads these elements into dst and calls step,
	// unless it is nil, with successive pieces of dst. At the end it calls done with the
	// bytes that are stored after the elements.
	Direct(p *Chunk, dst []byte) (step func(piece []byte), done func(rest []byte) error)

	// Describe adds to err which chunk it concerns.
	Describe(p *Chunk, err error) error
}

// Checker is a [Form] that can refuse stored bytes that state an impossible size, before
// memory of that size is allocated.
type Checker interface {
	// Check returns an error if enc cannot be the stored bytes of the chunk. Decode would
	// return an error too.
	Check(p *Chunk, enc []byte) error
}

// describe adds to err which chunk it concerns.
func (p *Chunk) describe(err error) error {
	if err == nil {
		return nil
	}
	return p.Form.Describe(p, err)
}

// decode calls f with the elements of the chunk, of type d, that enc encodes. If the
// elements are stored as they are in memory, f gets them in enc itself. The exceptions
// are the chunk's own Inline, and types whose elements the form changes: other leaves may
// share the bytes that were read.
func (p *Chunk) decode(d array.DType, enc []byte, f func(elements []byte) error) error {
	n, err := region.NumBytes(p.Size, d.Size())
	if err != nil {
		return err
	}
	if p.Inline == nil && len(enc) >= n && !narrow(d) {
		if step, done := p.Form.Direct(p, enc[:n]); done != nil {
			if step != nil {
				step(enc[:n])
			}
			if err := done(enc[n:]); err != nil {
				return err
			}
			return f(enc[:n])
		}
	}
	if c, ok := p.Form.(Checker); ok {
		if err := c.Check(p, enc); err != nil {
			return err
		}
	}
	return transfer.WithScratch(n, func(elements []byte) error {
		if err := p.Form.Decode(p, elements, enc); err != nil {
			return err
		}
		return f(elements)
	})
}

// narrow reports whether elements have unused bits, which a form clears.
func narrow(d array.DType) bool {
	switch d {
	case array.Int2, array.Int4, array.Float4E2M1FN, array.Float6E2M3FN, array.Float6E3M2FN:
		return true
	}
	return false
}

// Dir is the directory that holds the files of stored arrays. The packages of this module
// that open checkpoints make it; to others it only says which chunks lie together.
type Dir transfer.Dir
