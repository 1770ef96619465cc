package pytree

import (
	"context"
	"iter"

	"github.com/go-orbax/orbax/internal/rawarray"
	"github.com/go-orbax/orbax/view"
)

// knownArray is an array of rank 0 whose element is in memory.
type knownArray struct {
	rawarray.Form
	element []byte
}

// Chunks yields the element.
func (a *knownArray) Chunks(context.Context, []int, []int) iter.Seq2[*view.Chunk, error] {
	return func(yield func(*view.Chunk, error) bool) {
		yield(&view.Chunk{Form: a.Form, Inline: a.element}, nil)
	}
}
