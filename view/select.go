package view

import (
	"slices"
	"strconv"

	"github.com/go-orbax/orbax/tree"
)

// Select returns the tree of the leaves for which keep reports true. A sequence that
// loses elements becomes a dict, with the positions of the remaining elements as keys, so
// that every leaf keeps its name. A sequence that loses only its last elements stays a
// sequence.
func (t *Tree) Select(keep func(*LeafMetadata) bool) *Tree {
	var kept []*Leaf
	for _, l := range t.leaves {
		if keep(&l.meta) {
			kept = append(kept, l)
		}
	}
	return New(t.format, unseat(kept)).WithCustom(t.custom).WithShardingErr(t.shardingErr)
}

// unseat turns the positions of sequences that have gaps into keys of dicts.
func unseat(leaves []*Leaf) []*Leaf {
	elements := map[string]map[string]bool{} // names below the path of a sequence
	for _, l := range leaves {
		for i, k := range l.meta.Path {
			if k.Seq {
				at := l.meta.Path[:i].ID()
				if elements[at] == nil {
					elements[at] = map[string]bool{}
				}
				elements[at][k.Name] = true
			}
		}
	}
	for at, names := range elements {
		dense := true
		for i := range len(names) {
			dense = dense && names[strconv.Itoa(i)]
		}
		if dense {
			delete(elements, at)
		}
	}
	if len(elements) == 0 {
		return leaves
	}
	leaves = slices.Clone(leaves)
	for n, l := range leaves {
		path := slices.Clone(l.meta.Path)
		for i, k := range path {
			if k.Seq && elements[l.meta.Path[:i].ID()] != nil {
				path[i] = tree.Key{Name: k.Name}
			}
		}
		leaves[n] = l.At(path)
	}
	return leaves
}
