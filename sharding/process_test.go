package sharding

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
)

// A mesh without device ids may have any shape.
func TestOwnersOfHugeMesh(t *testing.T) {
	for _, n := range []int{maxOwned + 1, 1 << 50} {
		on := Named(Mesh{Shape: []int{n}, AxisNames: []string{"x"}}, nil)
		if _, err := (Process{Size: 2}).Owners(on); !errors.Is(err, fault.ErrUnsupported) {
			t.Errorf("%d devices: %v", n, err)
		}
	}
}

func TestOwners(t *testing.T) {
	line := func(ids ...int) *Sharding {
		return Named(Mesh{Shape: []int{len(ids)}, AxisNames: []string{"x"}, DeviceIDs: ids}, nil)
	}
	many, halves := make([]int, 4090), make([]int, 4090)
	for i := range many {
		many[i], halves[i] = i, i/2045 // and not i/2048
	}
	for _, c := range []struct {
		on    *Sharding
		size  int
		owner func(int) int
		want  []int // nil: refused
	}{
		{line(0, 1, 2048, 2049), 2, nil, []int{0, 0, 1, 1}},
		{line(2049, 0), 2, nil, []int{1, 0}}, // a mesh of some of the devices
		{line(2048, 4096), 2, nil, nil},      // of process 2, which does not exist
		{line(3, 1, 0, 2), 2, nil, []int{1, 0, 0, 1}},
		{line(3, 1, 0, 2), 4, nil, []int{3, 1, 0, 2}},
		{line(0, 1, 2), 2, nil, nil},
		{line(0, 1, 2), 2, func(id int) int { return id % 2 }, []int{0, 1, 0}},
		{line(0, 1, 2), 2, func(id int) int { return id - 1 }, nil},
		{line(5), 3, nil, []int{0}},
		{Host(), 4, nil, []int{0}},
		{SingleDevice("cpu:0"), 4, nil, []int{0}},
		{Named(Mesh{Shape: []int{2, 2}, AxisNames: []string{"x", "y"}}, nil), 2, nil, []int{0, 0, 1, 1}},
		{line(0, 1), 0, nil, nil},
		{nil, 1, nil, nil},
		{line(many...), 2, nil, halves},
	} {
		got, err := Process{Size: c.size, Owner: c.owner}.Owners(c.on)
		if c.want == nil && !errors.Is(err, fault.ErrStructure) || c.want != nil && (err != nil || !slices.Equal(got, c.want)) {
			t.Errorf("%v of %d processes: %v, %v; want %v", c.on, c.size, got, err, c.want)
		}
	}
}

func TestHeld(t *testing.T) {
	on := Named(Mesh{AxisNames: []string{"x", "y"}, Shape: []int{2, 2}}, PartitionSpec{{"x"}})
	pieces, err := on.Pieces([]int{4})
	if err != nil {
		t.Fatal(err)
	}
	owner := func(device int) int { return []int{2, 0, 1, 1}[device] }
	for rank, want := range [][]Held{{{1, []int{0, 2}}}, {{3, []int{1}}}, {{0, []int{0, 2}}}, {}} {
		held, err := Process{Rank: rank, Size: 4, Owner: owner}.Held(on, pieces)
		if err != nil || !reflect.DeepEqual(held, want) {
			t.Errorf("process %d holds %v, %v, want %v", rank, held, err, want)
		}
	}
}
