package view

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/go-orbax/orbax/sharding"
)

// A load of shards wants boxes of a stored array that may be far apart, and a box around
// all of them would hold chunks that are not wanted. So a stored array is asked for the
// chunks of groups: boxes that hold all elements of some placements.

// tree returns the tree of the boxes of all placements, if there are several.
func (s *source) tree() boxTree {
	if len(s.placed) == 1 {
		return boxTree{}
	}
	boxes, numbers := make([]sharding.Box, len(s.placed)), make([]int, len(s.placed))
	for i := range s.placed {
		boxes[i], numbers[i] = s.placed[i].bounds(), i
	}
	return newBoxTree(boxes, numbers)
}

// groups returns the groups of all placements, whose boxes are in t. They do not overlap.
// There is one group for placements that overlap, or whose boxes together are a box.
func (s *source) groups(t *boxTree) []sharding.Box {
	for i := range s.placed {
		if s.placed[i].whole || len(s.placed) == 1 {
			return []sharding.Box{s.placed[i].bounds()}
		}
	}
	if _, ok := s.array.(*computed); ok { // is made whole each time that it is asked for chunks
		all := t.boxes[0]
		for i := range t.boxes {
			all = around(&all, &t.boxes[i])
		}
		return []sharding.Box{all}
	}
	var groups []sharding.Box
	t.apart(func(numbers []int) { groups = append(groups, united(t.boxes, numbers)...) })
	return joined(groups)
}

// united returns the groups of the boxes with the given numbers.
func united(boxes []sharding.Box, numbers []int) (groups []sharding.Box) {
	for _, n := range numbers {
		g := boxes[n]
		for k := 0; k < len(groups); k++ {
			if joins(&g, &groups[k]) {
				g = around(&g, &groups[k])
				groups = slices.Delete(groups, k, k+1)
				k = -1 // the larger group may join others
			}
		}
		groups = append(groups, g)
	}
	return groups
}

// joins reports whether two groups overlap, or together are a box.
func joins(g, h *sharding.Box) bool {
	apart, differ := false, 0
	for i := range g.Offset {
		gap := max(g.Offset[i], h.Offset[i]) - min(endOf(g, i), endOf(h, i))
		if gap > 0 {
			return false
		}
		apart = apart || gap == 0
		if g.Offset[i] != h.Offset[i] || g.Size[i] != h.Size[i] {
			differ++
		}
	}
	return !apart || differ <= 1
}

// around returns a box around two.
func around(g, h *sharding.Box) sharding.Box {
	b := sharding.Box{Offset: make([]int, len(g.Offset)), Size: make([]int, len(g.Offset))}
	for i := range g.Offset {
		b.Offset[i] = min(g.Offset[i], h.Offset[i])
		b.Size[i] = max(endOf(g, i), endOf(h, i)) - b.Offset[i]
	}
	return b
}

// joined joins groups that do not overlap and together are a box.
func joined(groups []sharding.Box) []sharding.Box {
	rank := len(groups[0].Offset)
	axis := rank
	for unchanged := 0; unchanged < rank && len(groups) > 1; unchanged++ {
		if axis--; axis < 0 {
			axis = rank - 1
		}
		n := len(groups)
		if groups = joinedAlong(groups, axis); len(groups) < n {
			unchanged = 0
		}
	}
	return groups
}

// joinedAlong is joined for groups that follow each other along an axis.
func joinedAlong(groups []sharding.Box, axis int) []sharding.Box {
	others := func(g, h sharding.Box) int { // compares all but this axis
		for i := range g.Offset {
			if i == axis {
				continue
			}
			if c := cmp.Or(cmp.Compare(g.Offset[i], h.Offset[i]), cmp.Compare(g.Size[i], h.Size[i])); c != 0 {
				return c
			}
		}
		return 0
	}
	slices.SortFunc(groups, func(g, h sharding.Box) int {
		return cmp.Or(others(g, h), cmp.Compare(g.Offset[axis], h.Offset[axis]))
	})
	all := groups[:1]
	for _, g := range groups[1:] {
		if last := &all[len(all)-1]; others(*last, g) == 0 && endOf(last, axis) == g.Offset[axis] {
			*last = around(last, &g)
		} else {
			all = append(all, g)
		}
	}
	return all
}

// chunkKey identifies a chunk among those of one stored array.
type chunkKey struct {
	dir        *Dir
	file       string
	at, length int64
	box        string
}

// sharedChunk is a chunk with all elements that are wanted from it.
type sharedChunk struct {
	*Chunk
	placed []placement
}

// planApart plans reads of a stored array whose wanted elements are in several groups. A
// chunk that several groups want is read once. A chunk serves only the groups for which
// the array has yielded it, because the array may divide its chunks anew for each.
func (p *planner) planApart(ctx context.Context, s *source, t *boxTree, groups []sharding.Box, cache *chunkCache) error {
	var chunks []*sharedChunk
	known := map[chunkKey]*sharedChunk{}
	plan := func() error {
		for _, c := range chunks {
			if err := p.planChunk(ctx, s, c.Chunk, c.placed, cache); err != nil {
				return err
			}
		}
		chunks = chunks[:0]
		clear(known)
		return nil
	}
	for _, g := range groups {
		for part, err := range s.array.Chunks(ctx, g.Offset, g.Size) {
			if err != nil {
				return err
			}
			off, size, ok := intersect(part.Offset, part.Size, g.Offset, g.Size)
			if !ok {
				continue
			}
			placed := s.overlapping(t, off, size)
			if len(placed) == 0 {
				continue
			}
			key := chunkKey{part.Dir, part.File, part.At, part.Length, fmt.Sprint(part.Offset, part.Size)}
			c := known[key]
			if c == nil {
				c = &sharedChunk{Chunk: part}
				known[key] = c
				chunks = append(chunks, c)
			}
			c.placed = append(c.placed, placed...)
			if len(chunks) == maxLoaded {
				if err := plan(); err != nil {
					return err
				}
			}
		}
	}
	return plan()
}

// overlapping returns the placements, whose boxes are in t, that want elements of the box
// of the given size at off. One that is alone wants some of every chunk, because the array
// was only asked for its chunks. The caller does not change the slice.
func (s *source) overlapping(t *boxTree, off, size []int) []placement {
	if len(s.placed) == 1 {
		return s.placed
	}
	found := t.find(nil, &sharding.Box{Offset: off, Size: size})
	if len(found) == 0 {
		return nil
	}
	slices.Sort(found)
	if first, last := found[0], found[len(found)-1]; last-first == len(found)-1 {
		return s.placed[first : last+1 : last+1]
	}
	some := make([]placement, len(found))
	for k, i := range found {
		some[k] = s.placed[i]
	}
	return some
}
