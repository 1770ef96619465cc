package ocdbt

import (
	"slices"

	"github.com/go-orbax/orbax/internal/memory"
)

// What is decoded from stored nodes may take so many times their bytes of memory, and
// some more. The keys and documents of many equal arrays nearly vanish when they are
// compressed (observed: 3,500 times as much). Of a long key or inline value only the
// beginning counts so: Orbax has no others, its inline values end at 1024 bytes.
const (
	memoryFactor = 4096
	longFactor   = 64
	longEntry    = 2048
	memorySlack  = 64 << 20
)

// justified returns how much memory n stored bytes may become.
func justified(n int64) int64 { return memorySlack + memoryFactor*min(n, 1<<50) }

// checkStep is how much is taken before the process is asked whether it has as much.
const checkStep = 1 << 20

// entryBytes is what an [Entry] takes, as lists of them grow.
const entryBytes = 128

// tally counts the memory that the entries of a tree take if they are all kept.
type tally struct {
	stored  int64 // bytes of the nodes so far
	taken   int64
	long    int64 // of it, what is beyond longEntry of each
	checked int64 // how much of taken the process was found to have memory for
}

// node counts a node whose entries follow.
func (s *tally) node(ref Ref) { s.stored += ref.Length }

// entry counts an entry of that many bytes.
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
		more = s.taken // as much again, as a list that grows is copied
	}
	s.checked = s.taken
	return memory.Check(more)
}

// extents are the nodes of a tree that have been visited, by file and in the order
// of their offsets. No tree has a node twice, or one inside of another; without that
// a few nodes that share children could stand for a tree of any size.
type extents map[string][]Ref

// add adds a node, and reports whether it lies apart from all others.
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
