package view

import (
	"context"
	"fmt"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// computed is an array that a function makes when it is read; one in memory is
// that of a function without sources.
type computed struct {
	dtype array.DType
	shape []int
	make  func(ctx context.Context) (*array.Array, error)
}

// Parts has the function make the array.
func (c *computed) Parts(ctx context.Context, _, _ []int) ([]Part, error) {
	a, err := c.make(ctx)
	if err != nil {
		return nil, err
	}
	if a == nil || a.DType() != c.dtype || !slices.Equal(a.Shape(), c.shape) {
		return nil, fmt.Errorf("%w: the function returned %v, not %v%v", fault.ErrStructure, a, c.dtype, c.shape)
	}
	if len(a.Bytes()) == 0 {
		return nil, nil
	}
	return []Part{{Offset: make([]int, len(c.shape)), Size: c.shape, Form: inMemory{}, Inline: a.Bytes()}}, nil
}

// inMemory is the form of elements that are there already.
type inMemory struct{}

func (inMemory) Decode(_ *Part, dst, enc []byte) error {
	copy(dst, enc)
	return nil
}

func (inMemory) Direct(*Part, []byte) (func([]byte), func([]byte) error) { return nil, nil }

func (inMemory) Describe(_ *Part, err error) error { return err }
