package view

import (
	"context"
	"fmt"
	"slices"
)

// group is a box of a stored array that holds all elements of some placements. A load of
// shards wants boxes that may be far apart, and a box around all of them would hold
// chunks that are not wanted. So a stored array is asked for the chunks of each group.
type group struct {
	off, size []int
	placed    []int // numbers of placements
}

// groups returns the groups of all placements. They do not overlap. There is one group
// for placements that overlap, or whose boxes together are a box.
func (s *source) groups() []group {
	_, whole := s.array.(*computed) // is made whole each time that it is asked for chunks
	var groups []group
	for i := range s.placed {
		off, size := s.placed[i].bounds()
		if s.placed[i].whole {
			return []group{{off: off, size: size}}
		}
		g := group{slices.Clone(off), slices.Clone(size), []int{i}}
		for k := 0; k < len(groups); k++ {
			if !whole && !g.joins(&groups[k]) {
				continue
			}
			g.add(&groups[k])
			groups = slices.Delete(groups, k, k+1)
			k = -1 // the larger group may join others
		}
		groups = append(groups, g)
	}
	return groups
}

// joins reports whether two groups overlap, or together are a box.
func (g *group) joins(h *group) bool {
	apart, differ := false, 0
	for i := range g.off {
		gap := max(g.off[i], h.off[i]) - min(g.off[i]+g.size[i], h.off[i]+h.size[i])
		if gap > 0 {
			return false
		}
		apart = apart || gap == 0
		if g.off[i] != h.off[i] || g.size[i] != h.size[i] {
			differ++
		}
	}
	return !apart || differ <= 1
}

// add extends the group to a box around both.
func (g *group) add(h *group) {
	for i := range g.off {
		end := max(g.off[i]+g.size[i], h.off[i]+h.size[i])
		g.off[i] = min(g.off[i], h.off[i])
		g.size[i] = end - g.off[i]
	}
	g.placed = append(g.placed, h.placed...)
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
func (p *planner) planApart(ctx context.Context, s *source, groups []group, cache *chunkCache) error {
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
		mine := make([]placement, len(g.placed))
		for k, i := range g.placed {
			mine[k] = s.placed[i]
		}
		for part, err := range s.array.Chunks(ctx, g.off, g.size) {
			if err != nil {
				return err
			}
			placed := overlapping(mine, part)
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

// overlapping returns the placements that want elements of a part. One that is alone
// wants some of every part, because only its parts were asked for.
func overlapping(placed []placement, part *Chunk) []placement {
	if len(placed) == 1 {
		return placed
	}
	var some []placement
	for i := range placed {
		lo, n := placed[i].view.Bounds()
		if _, _, ok := intersect(part.Offset, part.Size, lo, n); ok {
			some = append(some, placed[i])
		}
	}
	return some
}
