package array

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/sharding"
)

// drawSharding draws a mesh of named axes and a spec for an array of rank dimensions.
func drawSharding(t *rapid.T, rank int) *sharding.Sharding {
	names := []string{"x", "y", "z"}[:rapid.IntRange(0, 3).Draw(t, "axes")]
	mesh := sharding.Mesh{AxisNames: names, Shape: make([]int, len(names))}
	for i := range names {
		mesh.Shape[i] = rapid.IntRange(1, 3).Draw(t, "axis")
	}
	spec := make(sharding.PartitionSpec, rank)
	for _, name := range names {
		if i := rapid.IntRange(-1, rank-1).Draw(t, "entry"); i >= 0 {
			spec[i] = append(spec[i], name)
		}
	}
	return sharding.Named(mesh, spec)
}

// The shards of all processes cover an array, and each process reads what it holds and
// nothing else.
func TestShardedRegions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape := rapid.SliceOfN(rapid.IntRange(0, 5), 0, 3).Draw(t, "shape")
		on := drawSharding(t, len(shape))
		n, _ := NumElements(shape)
		whole, _ := New(Uint16, shape, nil)
		for i := range n {
			whole.data[2*i] = byte(i)
		}
		size := rapid.IntRange(1, 4).Draw(t, "processes")
		owner := func(device int) int { return device * 7 % size }
		off, box := make([]int, len(shape)), make([]int, len(shape))
		for i, d := range shape {
			off[i] = rapid.IntRange(0, d).Draw(t, "off")
			box[i] = rapid.IntRange(0, d-off[i]).Draw(t, "size")
		}
		wanted, _ := NumElements(box)
		want := make([]byte, 2*wanted)
		if err := whole.ReadRegion(t.Context(), want, off, box); err != nil {
			t.Fatal(err)
		}
		covered := make([]bool, n)
		for rank := range size {
			a, err := AllocSharded(ShapeDtypeStruct{shape, Uint16, on}, sharding.Process{Rank: rank, Size: size, Owner: owner})
			if err != nil {
				t.Fatal(err)
			}
			held := make([]bool, n)
			for _, s := range a.Shards() {
				if err := whole.ReadRegion(t.Context(), s.Array.data, s.Offset, s.Array.shape); err != nil {
					t.Fatal(err)
				}
				for i := 0; i < len(s.Array.data); i += 2 {
					held[s.Array.data[i]], covered[s.Array.data[i]] = true, true
				}
			}
			holder := slices.IndexFunc(a.Shards(), func(s Shard) bool {
				for i := range off {
					if off[i] < s.Offset[i] || off[i]+box[i] > s.Offset[i]+s.Array.shape[i] {
						return false
					}
				}
				return wanted > 0
			})
			if s, ok := a.Shard(off, box); ok != (holder >= 0) || ok && s.Array != a.Shards()[holder].Array {
				t.Fatalf("rank %d: shard %d holds the box %v at %v, got %v, %v", rank, holder, box, off, s, ok)
			}
			all := true
			for i := 0; i < len(want); i += 2 {
				all = all && held[want[i]]
			}
			got := make([]byte, len(want))
			if err := a.ReadRegion(t.Context(), got, off, box); all != (err == nil) || all && !slices.Equal(got, want) {
				t.Fatalf("rank %d, box %v at %v: %v, %v; want %v", rank, box, off, got, err, want)
			}
		}
		if slices.Contains(covered, false) {
			t.Fatalf("not covered: %v", covered)
		}
	})
}

func TestShardedRefusals(t *testing.T) {
	on := sharding.Named(sharding.Mesh{Shape: []int{2}, AxisNames: []string{"x"}}, sharding.PartitionSpec{{"x"}})
	shard := func(d DType, offset, n int) Shard {
		a, err := New(d, []int{n}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return Shard{[]int{offset}, a}
	}
	for i, c := range []struct {
		shards []Shard
		want   error
	}{
		{[]Shard{shard(Float32, 0, 3), shard(Float32, 3, 2)}, nil}, // the last part is shorter
		{[]Shard{{Offset: []int{0}}}, fault.ErrShape},
		{[]Shard{shard(Float64, 0, 3)}, fault.ErrDType},
		{[]Shard{shard(Float32, 1, 3)}, fault.ErrShape},
		{[]Shard{shard(Float32, 0, 2)}, fault.ErrShape},
		{[]Shard{shard(Float32, 3, 3)}, fault.ErrShape},
		{[]Shard{shard(Float32, 0, 3), shard(Float32, 0, 3)}, fault.ErrShape},
		{[]Shard{{Offset: []int{0, 0}, Array: shard(Float32, 0, 3).Array}}, fault.ErrShape},
	} {
		if _, err := NewSharded(Float32, []int{5}, on, c.shards...); !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
			t.Errorf("case %d: %v, want %v", i, err, c.want)
		}
	}
	if _, err := NewSharded(Float32, []int{5}, nil); !errors.Is(err, fault.ErrStructure) {
		t.Errorf("without a sharding: %v", err)
	}
}

// A box that does not lie in the array is in no shard, and the zero Sharded has none.
func TestShardedHasNoShard(t *testing.T) {
	on := sharding.Named(sharding.Mesh{Shape: []int{2}, AxisNames: []string{"x"}}, sharding.PartitionSpec{{"x"}})
	a, err := AllocSharded(ShapeDtypeStruct{[]int{4}, Int8, on}, sharding.Process{Size: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []sharding.Box{{}, {Offset: []int{-1}, Size: []int{1}}, {Offset: []int{4}, Size: []int{1}}, {Offset: []int{3}, Size: []int{2}},
		{Offset: []int{0}, Size: []int{-1}}, {Offset: []int{0}, Size: []int{0}}, {Offset: []int{1}, Size: []int{2}}, {Offset: []int{0, 0}, Size: []int{1, 1}}} {
		if s, ok := a.Shard(b.Offset, b.Size); ok {
			t.Errorf("%v is in the shard at %v", b, s.Offset)
		}
	}
	var zero Sharded
	if s, ok := zero.Shard(nil, nil); ok {
		t.Errorf("the zero Sharded has %v", s)
	}
	if err := zero.ReadRegion(t.Context(), nil, nil, nil); !errors.Is(err, fault.ErrShape) {
		t.Errorf("a read of the zero Sharded: %v", err)
	}
}

func ExampleAllocSharded() {
	mesh := sharding.Mesh{Shape: []int{2, 2}, AxisNames: []string{"data", "model"}}
	what := ShapeDtypeStruct{Shape: []int{8, 6}, DType: Float32, Sharding: sharding.Named(mesh, sharding.PartitionSpec{nil, {"model"}})}
	a, err := AllocSharded(what, sharding.Process{Rank: 1, Size: 4}) // four processes with one device each
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range a.Shards() {
		fmt.Println(s.Array, "at", s.Offset)
	}
	// Output: float32[8 3] at [0 3]
}

func TestShardedString(t *testing.T) {
	process := sharding.Process{Size: 1}
	a, err := AllocSharded(ShapeDtypeStruct{Shape: []int{2}, DType: Uint32, Sharding: sharding.Host()}, process)
	if err != nil {
		t.Fatal(err)
	}
	if a.String() != "uint32[2] in 1 shard" {
		t.Errorf("%v, %v", a, err)
	}
	key, err := a.WithPRNGImpl("threefry2x32")
	if err != nil || key.String() != "key<threefry2x32>[2] in 1 shard" {
		t.Errorf("%v, %v", key, err)
	}
	mesh := sharding.Mesh{AxisNames: []string{"d"}, Shape: []int{2}}
	a, err = AllocSharded(ShapeDtypeStruct{Shape: []int{4}, DType: Int8, Sharding: sharding.Named(mesh, sharding.PartitionSpec{{"d"}})}, process)
	if err != nil || a.String() != "int8[4] in 2 shards" {
		t.Errorf("%v, %v", a, err)
	}
}
