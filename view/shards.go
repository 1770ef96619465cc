package view

import (
	"fmt"
	"math"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/region"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
)

// shards returns the global array whose shards, the boxes of the slot, are to be read.
func (l *Leaf) shards(s *tree.Slot) (*array.Sharded, error) {
	if s.Sharded != nil {
		return s.Sharded, nil
	}
	w := s.Want
	shards := make([]array.Shard, len(s.Boxes))
	for k, b := range s.Boxes {
		part, err := array.New(w.DType, b.Size, nil)
		if err != nil {
			return nil, err
		}
		shards[k] = array.Shard{Offset: b.Offset, Array: part}
	}
	a, err := array.NewSharded(w.DType, w.Shape, w.Sharding, shards...)
	if err != nil || l.meta.PRNGImpl == "" {
		return a, err
	}
	if a, err = a.WithPRNGImpl(l.meta.PRNGImpl); err != nil {
		err = fmt.Errorf("%w: %w", fault.ErrCorrupt, err)
	}
	return a, err
}

// intoShards appends a request for each shard of a.
func (l *Leaf) intoShards(requests []request, a *array.Sharded) []request {
	for _, s := range a.Shards() {
		requests = append(requests, l.intoBox(s.Array, s.Offset))
	}
	return requests
}

// boxBytes returns the number of bytes of all boxes together.
func boxBytes(boxes []sharding.Box, item int) (int, error) {
	total := 0
	for _, b := range boxes {
		n, err := region.NumBytes(b.Size, item)
		if err != nil {
			return 0, err
		}
		if total > math.MaxInt-n {
			return 0, fmt.Errorf("%w: more than 2^63 bytes in all", fault.ErrNoMemory)
		}
		total += n
	}
	return total, nil
}

// bytesOf returns the number of bytes of the shards.
func bytesOf(a *array.Sharded) (n int64) {
	for _, s := range a.Shards() {
		n += int64(len(s.Array.Bytes()))
	}
	return n
}
