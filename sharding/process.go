package sharding

import (
	"fmt"
	"maps"
	"slices"

	"github.com/go-orbax/orbax/internal/fault"
)

// Process is one of the processes that hold an array together.
type Process struct {
	Rank int // from 0 to Size-1
	Size int // number of processes
	// Owner returns the rank of the process that has the device with an id. nil is the
	// rule of JAX: on CPUs, device 2048·r + i belongs to process r. If no id of a mesh is
	// that large, or the ids are the numbers from 0 on, the ids in ascending order belong
	// to the processes in equal numbers, which is so on GPUs and TPUs. A process to which no
	// device of the mesh belongs holds nothing of the array, not even of a replicated one. By the rule
	// for CPUs these are all processes beyond those of the JAX job that has recorded the
	// mesh.
	Owner func(device int) (rank int)
}

// cpuIDs is the distance between the device ids of two processes of JAX on CPUs
// (observed).
const cpuIDs = 2048

// maxOwned is more than the devices of any machine. A document of a few bytes can name a mesh
// of any size.
const maxOwned = 1 << 20

// Owners returns, for each place of the sharding's mesh, the rank of the process that has
// the device there. The one place of a [SingleDevice] belongs to rank 0. A mesh without
// device ids has the devices of the processes in their order, equally many of each. That a
// process has no device is no error; it holds nothing. The
// error matches orbax.ErrStructure if Owner is nil and its rule does not fit, or if Owner
// returns a rank that does not exist, and orbax.ErrUnsupported for more than 1,048,576
// devices.
func (p Process) Owners(s *Sharding) ([]int, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if s.Mesh == nil {
		return []int{0}, nil
	}
	n, err := s.Mesh.numDevices()
	if err != nil {
		return nil, err
	}
	if n > maxOwned {
		return nil, fmt.Errorf("%w: a mesh of %d devices, at most %d can be divided among processes", fault.ErrUnsupported, n, maxOwned)
	}
	ids := s.Mesh.DeviceIDs
	if ids == nil {
		ids = make([]int, n)
		for i := range ids {
			ids[i] = i
		}
	}
	owner, err := p.rule(ids)
	if err != nil {
		return nil, err
	}
	owners := make([]int, n)
	for i, id := range ids {
		if owners[i] = owner(id); owners[i] < 0 || owners[i] >= p.Size {
			return nil, fmt.Errorf("%w: device %d belongs to process %d, there are %d processes", fault.ErrStructure, id, owners[i], p.Size)
		}
	}
	return owners, nil
}

// rule returns Owner, or its default for a mesh with these device ids.
func (p Process) rule(ids []int) (func(device int) int, error) {
	sorted := slices.Sorted(slices.Values(ids))
	switch {
	case p.Owner != nil:
		return p.Owner, nil
	case sorted[len(sorted)-1] >= cpuIDs && !consecutive(sorted):
		return func(id int) int { return id / cpuIDs }, nil
	case len(ids) == 1:
		return func(int) int { return 0 }, nil
	case p.Size < 1 || len(ids)%p.Size != 0:
		return nil, fmt.Errorf("%w: the %d devices of the mesh do not divide among %d processes: set the Owner of a device", fault.ErrStructure, len(ids), p.Size)
	}
	each := len(ids) / p.Size
	return func(id int) int {
		i, _ := slices.BinarySearch(sorted, id)
		return i / each
	}, nil
}

// consecutive reports whether ids are the numbers from 0 on.
func consecutive(ids []int) bool {
	for i, id := range ids {
		if i != id {
			return false
		}
	}
	return true
}

// Boxes returns the boxes of an array that the devices of this process hold, each once,
// in the order of the mesh's places. It leaves out boxes without elements. The error is
// that of [Process.Owners] or of [Sharding.Pieces].
func (p Process) Boxes(s *Sharding, shape []int) ([]Box, error) {
	pieces, err := s.Pieces(shape)
	if err != nil {
		return nil, err
	}
	owners, err := p.Owners(s)
	if err != nil {
		return nil, err
	}
	var boxes []Box
	seen := map[int]bool{}
	for place, owner := range owners {
		if n := pieces.Number(place); owner == p.Rank && !seen[n] {
			seen[n] = true
			if b := pieces.Box(place); !b.Empty() {
				boxes = append(boxes, b)
			}
		}
	}
	return boxes, nil
}

// Held is a piece of an array that a process holds.
type Held struct {
	Place   int   // one of those of the mesh where this process has the piece
	Holders []int // the ranks of all processes that hold the piece, ascending
}

// Held returns the pieces that this process holds, each once, in the order of their numbers,
// which is the same in all processes. pieces are those of an array with the sharding s. The
// error is that of [Process.Owners].
func (p Process) Held(s *Sharding, pieces *Pieces) ([]Held, error) {
	owners, err := p.Owners(s)
	if err != nil {
		return nil, err
	}
	places := map[int]int{} // by number of a piece that this process holds, a place of it
	for place, owner := range owners {
		if owner == p.Rank {
			places[pieces.Number(place)] = place
		}
	}
	holders := map[int][]int{}
	for place, owner := range owners {
		n := pieces.Number(place)
		if _, mine := places[n]; mine {
			holders[n] = append(holders[n], owner)
		}
	}
	held := make([]Held, 0, len(places))
	for _, n := range slices.Sorted(maps.Keys(places)) {
		slices.Sort(holders[n])
		held = append(held, Held{places[n], slices.Compact(holders[n])})
	}
	return held, nil
}
