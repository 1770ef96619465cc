package pytree

import (
	"context"
	"iter"

	"github.com/go-orbax/orbax/internal/rawarray"
	"github.com/go-orbax/orbax/view"
)

// knownArray is an array of rank 0 whose element is known.
type knownArray struct {
	rawarray.Form
	element []byte
}

// Parts returns the element.
func (a *knownArray) Parts(context.Context, []int, []int) iter.Seq2[*view.Part, error] {
	return func(yield func(*view.Part, error) bool) {
		yield(&view.Part{Form: a.Form, Inline: a.element}, nil)
	}
}
