package ocdbt

import (
	"slices"

	"github.com/go-orbax/orbax/internal/memory"
)

// These bound the memory for the decoded form of stored nodes: memoryFactor times their
// bytes, and memorySlack more. The factor is high because compression removes nearly all
// of the keys and documents of many equal arrays (observed: 3,500 times). For the bytes
// of a key or inline value after the first longEntry the lower longFactor applies. Orbax
// writes no such entries: its inline values have at most 1024 bytes.
const (
	memoryFactor = 4096
	longFactor   = 64
	longEntry    = 2048
	memorySlack  = 64 << 20
)

// justified returns how much memory n stored bytes may become.
func justified(n int64) int64 { return memorySlack + memoryFactor*min(n, 1<<50) }

// checkStep is the number of bytes between two checks of the process's free memory.
const checkStep = 1 << 20

// entryBytes is the memory of an [Entry] in a growing list.
const entryBytes = 128

// tally counts the memory that the entries of a tree take if all are kept.
type tally struct {
	stored  int64 // bytes of the nodes so far
	taken   int64
	long    int64 // the part of taken that exceeds longEntry for each entry
	checked int64 // the part of taken for which memory was checked
}

// node counts a node whose entries follow.
func (s *tally) node(ref Ref) { s.stored += ref.Length }

// entry counts an entry of n bytes.
func (s *tally) entry(n int) error {
	s.taken += entryBytes + int64(n)
	s.long += int64(max(0, n-longEntry))
	if s.taken > justified(s.stored) || s.long > memorySlack+longFactor*s.stored {
		return corruptf("the entries up to here take %d bytes of memory, %d of them beyond %d each: too much for nodes of %d bytes",
			s.taken, s.long, longEntry, s.stored)
	}
	if s.taken-s.checked < checkStep {
		return nil
	}
	more := s.taken - s.checked
	if s.checked/memory.Small != s.taken/memory.Small {
		more = s.taken // a list that grows is copied, so it needs the same again
	}
	s.checked = s.taken
	return memory.Check(more)
}

// extents holds the nodes of a tree that have been visited, by file and in the order of
// their offsets. A valid tree has no node twice, and no node inside another. Without this
// check a few nodes that share children could represent a tree of any size.
type extents map[string][]Ref

// add adds a node. It returns false if the node overlaps another.
func (x *extents) add(r Ref) bool {
	if *x == nil {
		*x = extents{}
	}
	list := (*x)[r.File]
	i, found := slices.BinarySearchFunc(list, r.Offset, func(e Ref, off int64) int {
		return int(min(max(e.Offset-off, -1), 1))
	})
	if found || i > 0 && list[i-1].Offset+list[i-1].Length > r.Offset ||
		i < len(list) && r.Offset+r.Length > list[i].Offset {
		return false
	}
	(*x)[r.File] = slices.Insert(list, i, r)
	return true
}
