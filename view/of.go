package view

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

// Of returns the tree of a value in memory, for example to compare it with a checkpoint.
// It has the leaves that a save of the value would store. Arrays are not copied and must
// not change as long as the tree is used. The errors are those of [tree.Flatten].
func Of(value any, adapters ...tree.Adapter) (*Tree, error) {
	flat, err := tree.Flatten(value, adapters...)
	if err != nil {
		return nil, err
	}
	leaves := make([]*Leaf, len(flat))
	for i, l := range flat {
		if leaves[i], err = leafOf(l); err != nil {
			return nil, fault.OfLeaf(l.Path.String(), err)
		}
	}
	return New("memory", leaves), nil
}

func leafOf(l tree.Leaf) (*Leaf, error) {
	m := LeafMetadata{Path: l.Path}
	switch v := l.Value.(type) {
	case tree.Empty:
		m.ValueType, m.Empty = v.String(), v
		return NewEmpty(m), nil
	case string:
		m.ValueType = "string"
		return NewString(m, v), nil
	case *Leaf:
		return v.At(l.Path), nil
	case []byte:
		a, err := array.New(array.Uint8, []int{len(v)}, v)
		if err != nil {
			return nil, err
		}
		return readerLeaf(l.Path, tree.KindBytes, a)
	case array.Reader:
		return readerLeaf(l.Path, tree.KindArray, v)
	}
	a := array.ScalarOf(l.Value)
	if a == nil {
		return nil, fmt.Errorf("%w: %T", fault.ErrLeafType, l.Value)
	}
	return readerLeaf(l.Path, tree.KindScalar, a)
}

// Constant returns the leaf of an array in memory. The array must not change as long as
// the leaf is used.
func Constant(path tree.Path, a *array.Array) (*Leaf, error) {
	return readerLeaf(path, tree.KindArray, a)
}

// readerLeaf returns the leaf of an array whose elements are read when they are needed.
func readerLeaf(path tree.Path, kind tree.Kind, r array.Reader) (*Leaf, error) {
	m, err := derived(path, r.DType(), r.Shape())
	if err != nil {
		return nil, err
	}
	m.Kind = kind
	if kind == tree.KindScalar {
		m.ValueType = "scalar"
	}
	m.Sharding = array.Abstract(r).Sharding
	if k, ok := r.(interface{ PRNGImpl() string }); ok {
		m.PRNGImpl = k.PRNGImpl()
	}
	if m.Sharding != nil || m.PRNGImpl != "" {
		m.ValueType = jaxArray
	}
	return NewArray(m, &reading{r})
}

// reading presents an array.Reader as a stored array. Its parts are the boxes that
// callers ask for.
type reading struct{ array.Reader }

func (r *reading) Chunks(ctx context.Context, off, size []int) iter.Seq2[*Chunk, error] {
	return func(yield func(*Chunk, error) bool) {
		form := readingForm{ctx, r.Reader}
		yield(&Chunk{Offset: slices.Clone(off), Size: slices.Clone(size), Form: form, Inline: []byte{}}, nil)
	}
}

// readingForm reads elements where other forms decode them. It uses the context of the
// call that asked for the part, because the same call decodes it.
type readingForm struct {
	ctx context.Context
	r   array.Reader
}

func (f readingForm) Decode(p *Chunk, dst, _ []byte) error {
	return f.r.ReadRegion(f.ctx, dst, p.Offset, p.Size)
}

func (readingForm) Direct(*Chunk, []byte) (func([]byte), func([]byte) error) { return nil, nil }

func (readingForm) Describe(_ *Chunk, err error) error { return err }
