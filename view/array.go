package view

import (
	"context"
	"iter"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/region"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

// Array is an array as a format stores it: in parts, each read and decoded on
// its own. Its methods may be called by several goroutines.
type Array interface {
	// Parts yields the parts that hold the box of size elements at off, and as few
	// other parts as it can. The parts do not overlap, and each is new: the caller may
	// keep it. Parts may read an index, but no elements. It ends at the first error.
	// There may be more parts than memory has room for.
	Parts(ctx context.Context, off, size []int) iter.Seq2[*Part, error]
}

// Part is a box of a stored array, a chunk or an inner chunk of it, and where
// its bytes are.
type Part struct {
	Offset, Size []int // the box
	Form         Form
	Index        []int // the form's own
	// Inline is what is stored, if it is known already; else it is the range
	// of Length bytes at At of the file File in Dir.
	Inline     []byte
	Dir        *Dir
	File       string
	At, Length int64
}

// Form says how the elements of parts are stored.
type Form interface {
	// Decode decodes the stored bytes of a part into dst, which gets the elements
	// of the part's box, row-major, as package array wants them.
	Decode(p *Part, dst, enc []byte) error

	// Direct returns the way to read a part without a second copy of it: no done
	// if its stored bytes are not the elements of its box themselves. They are
	// then read into dst, step is called with successive pieces of it, if it is
	// not nil, and done at the end with what is stored behind them.
	Direct(p *Part, dst []byte) (step func(piece []byte), done func(rest []byte) error)

	// Describe says of an error which part it is about.
	Describe(p *Part, err error) error
}

// Checker is a Form that can refuse stored bytes that claim to be more than they can
// be, before memory is taken for what they claim.
type Checker interface {
	// Check returns an error, which Decode would return too, if enc cannot be the
	// stored bytes of the part.
	Check(p *Part, enc []byte) error
}

// describe says of an error which part it is about.
func (p *Part) describe(err error) error {
	if err == nil {
		return nil
	}
	return p.Form.Describe(p, err)
}

// decode calls f with the elements of the part, of type d, that enc encodes. If
// they are stored as they are f gets them in enc itself, unless that is the
// part's own Inline, or the form may change them: other leaves may share what
// was read.
func (p *Part) decode(d array.DType, enc []byte, f func(elements []byte) error) error {
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

// narrow reports whether elements have bits that are not theirs, which a form
// clears.
func narrow(d array.DType) bool {
	switch d {
	case array.Int2, array.Int4, array.Float4E2M1FN, array.Float6E2M3FN, array.Float6E3M2FN:
		return true
	}
	return false
}

// Dir is the directory that the files of stored arrays are in.
type Dir struct {
	Store storage.Store
	Path  string
	// Unchanged, if set, is called with the outcome of reading, and may replace
	// it: by an error if the files have been replaced meanwhile.
	Unchanged func(ctx context.Context, err error) error
	// Engine reads the files.
	Engine *transfer.Engine
}
