package view

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/memory"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/tree"
)

// Lazy returns the tree like [Tree.Load], but with a *[Leaf] in place of each array. A
// save of the result reads each array while it writes it. It reads the chunks of an array
// in their order, so a stored chunk that is larger than the chunks of the save stays in
// memory until all of it has been used. Lazy itself reads scalars, strings, byte strings,
// and the leaves that functions compute.
func (t *Tree) Lazy(ctx context.Context) (any, error) {
	if err := cmp.Or(mayRead(ctx, t.leaves), checkAll(t.leaves, nil)); err != nil {
		return nil, err
	}
	var now []*Leaf
	for _, l := range t.leaves {
		if !l.streams() {
			now = append(now, l)
		}
	}
	values, err := load(ctx, now, nil, nil)
	if err != nil {
		return nil, err
	}
	cache := &chunkCache{}
	leaves := make([]tree.Leaf, len(t.leaves))
	for i, l := range t.leaves {
		leaves[i].Path = l.meta.Path
		if l.streams() {
			c := *l
			c.cache = cache
			leaves[i].Value = &c
			continue
		}
		leaves[i].Value, values = values[0], values[1:]
	}
	return tree.Build(leaves)
}

// streams reports whether the leaf can be read in pieces.
func (l *Leaf) streams() bool {
	return l.meta.Kind == tree.KindArray && !slices.ContainsFunc(l.pieces, func(p piece) bool {
		_, whole := p.array.(*computed)
		return whole
	})
}

// cacheBytes bounds the memory of decoded parts that are not used up, in addition to the
// last cacheParts of them.
const (
	cacheBytes = 32 << 20
	cacheParts = 2
)

// chunkCache keeps decoded parts of stored arrays after a read of only some of their
// elements, for later reads of the others.
type chunkCache struct {
	mu      sync.Mutex
	entries []*cachedChunk // the most recently used entry is the last
	bytes   int
}

type cachedChunk struct {
	array  Array
	offset []int
	bytes  int
	unused int // number of elements that no read has wanted yet

	reading  sync.Mutex
	elements []byte // nil until the part has been read
}

// get returns the entry for a part. The caller now reads n elements of it.
func (c *chunkCache) get(a Array, part *Chunk, bytes, elements, n int) *cachedChunk {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.entries, func(e *cachedChunk) bool { return e.array == a && slices.Equal(e.offset, part.Offset) })
	var e *cachedChunk
	if i >= 0 {
		e = c.entries[i]
		c.entries = slices.Delete(c.entries, i, i+1)
	} else {
		e = &cachedChunk{array: a, offset: part.Offset, bytes: bytes, unused: elements}
		c.bytes += bytes
	}
	if e.unused -= n; e.unused > 0 {
		c.entries = append(c.entries, e)
	} else {
		c.bytes -= e.bytes
	}
	for c.bytes > cacheBytes && len(c.entries) > cacheParts {
		c.bytes -= c.entries[0].bytes
		c.entries = slices.Delete(c.entries, 0, 1)
	}
	return e
}

// placeCached copies the wanted elements of a part to their places.
func (s *source) placeCached(ctx context.Context, part *Chunk, placed []placement, c *chunkCache) error {
	n, err := array.NumElements(part.Size)
	if err != nil {
		return err
	}
	wanted := 0
	for i := range placed {
		wanted += placed[i].elementsIn(part)
	}
	e := c.get(s.array, part, n*s.dtype.Size(), n, wanted)
	elements, err := e.read(func(dst []byte) error {
		return s.decodeInto(ctx, part, placed[0].leaf, dst)
	})
	if err != nil {
		return err
	}
	return s.placeAll(part, placed, elements)
}

// read returns the elements of the part. It calls decode to read them if no earlier call
// has. Only this caller gets the error of decode, because the contexts of others may not
// have ended.
func (e *cachedChunk) read(decode func(dst []byte) error) ([]byte, error) {
	e.reading.Lock()
	defer e.reading.Unlock()
	if e.elements == nil {
		elements, err := memory.Bytes(int64(e.bytes))
		if err != nil {
			return nil, err
		}
		if err := decode(elements); err != nil {
			return nil, err
		}
		e.elements = elements
	}
	return e.elements, nil
}

// decodeInto reads all of a part into dst.
func (s *source) decodeInto(ctx context.Context, part *Chunk, leaf string, dst []byte) error {
	r := transfer.Read{Leaf: leaf, Done: func(enc []byte) error {
		return part.describe(part.Form.Decode(part, dst, enc))
	}}
	if part.Inline == nil {
		direct(&r, part, dst)
	}
	one := &planner{}
	if err := one.addChunk(part, r); err != nil {
		return err
	}
	return one.run(ctx)
}

// elementsIn returns the number of elements of the placement that lie in the part. If a
// view has merged axes, it returns a lower bound.
func (pl *placement) elementsIn(part *Chunk) int {
	lo, size := pl.view.Bounds()
	_, n, ok := intersect(part.Offset, part.Size, lo, size)
	if !ok {
		return 0
	}
	count, _ := array.NumElements(n)
	return min(count, pl.view.Len())
}
