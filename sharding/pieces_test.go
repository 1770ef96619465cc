package sharding

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/internal/fault"
)

// TestPiecesOfJAX compares the pieces with those of JAX, in testdata/pieces.json.
func TestPiecesOfJAX(t *testing.T) {
	doc, err := os.ReadFile("testdata/pieces.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Mesh    []int
		Axes    []string
		Devices []int
		Spec    PartitionSpec
		Shape   []int
		Pieces  []struct {
			Offset, Size []int
			Replica      int
		}
	}
	if err := json.Unmarshal(doc, &cases); err != nil || len(cases) < 50 {
		t.Fatal(len(cases), err)
	}
	for i, c := range cases {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			p, err := Named(Mesh{Shape: c.Mesh, AxisNames: c.Axes, DeviceIDs: c.Devices}, c.Spec).Pieces(c.Shape)
			if err != nil {
				t.Fatal(err)
			}
			if p.Places() != len(c.Pieces) {
				t.Fatalf("%d places, want %d", p.Places(), len(c.Pieces))
			}
			for place, want := range c.Pieces {
				got := p.Box(place)
				if !slices.Equal(got.Offset, want.Offset) || !slices.Equal(got.Size, want.Size) || p.Replica(place) != want.Replica || p.Device(place) != c.Devices[place] {
					t.Errorf("mesh %v %v, spec %v, shape %v: place %d has %v, replica %d; want %v", c.Mesh, c.Axes, c.Spec, c.Shape, place, got, p.Replica(place), want)
				}
			}
		})
	}
}

// TestPiecesCover checks that the pieces of any mesh, spec and shape cover the array, each
// element as often as there are replicas, also where an axis does not split evenly.
func TestPiecesCover(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b", "c"}[:rapid.IntRange(0, 3).Draw(t, "axes")]
		mesh := Mesh{AxisNames: names, Shape: make([]int, len(names))}
		for i := range mesh.Shape {
			mesh.Shape[i] = rapid.IntRange(1, 4).Draw(t, "size")
		}
		shape := make([]int, rapid.IntRange(0, 3).Draw(t, "rank"))
		spec := make(PartitionSpec, len(shape))
		left := rapid.Permutation(names).Draw(t, "order")
		for i := range shape {
			shape[i] = rapid.IntRange(0, 7).Draw(t, "length")
			n := rapid.IntRange(0, len(left)).Draw(t, "entry")
			spec[i], left = left[:n], left[n:]
		}
		p, err := Named(mesh, spec).Pieces(shape)
		if err != nil {
			t.Fatal(err)
		}
		drawn := Box{make([]int, len(shape)), make([]int, len(shape))}
		for i, d := range shape {
			drawn.Offset[i] = rapid.IntRange(0, d).Draw(t, "offset")
			drawn.Size[i] = rapid.IntRange(0, d-drawn.Offset[i]).Draw(t, "size")
		}
		boxes, overlapping := map[string]int{}, map[int]bool{}
		type key struct{ number, replica int }
		seen := map[key]bool{}
		counts := map[string]int{} // by index
		for place := range p.Places() {
			b, k := p.Box(place), key{p.Number(place), p.Replica(place)}
			if seen[k] || k.number < 0 || k.number >= p.Distinct() || k.replica < 0 || k.replica >= p.Replicas() {
				t.Fatalf("place %d is %v of %d pieces and %d replicas", place, k, p.Distinct(), p.Replicas())
			}
			seen[k] = true
			if n, ok := p.Find(b); !ok || n != k.number && !b.Empty() {
				t.Fatalf("the box %v of piece %d is found as %d, %v", b, k.number, n, ok)
			} else if first, known := boxes[fmt.Sprint(b)]; known && first != n {
				t.Fatalf("the box %v is found as %d and %d", b, first, n)
			} else {
				boxes[fmt.Sprint(b)] = n
			}
			each(drawn, func(index []int) {
				for i := range index {
					if index[i] < b.Offset[i] || index[i] >= b.Offset[i]+b.Size[i] {
						return
					}
				}
				overlapping[k.number] = true
			})
			each(b, func(index []int) { counts[fmt.Sprint(index)]++ })
		}
		_, want := boxes[fmt.Sprint(drawn)]
		if _, ok := p.Find(drawn); ok != want {
			t.Fatalf("the box %v is found: %v, want %v", drawn, ok, want)
		}
		if got, want := slices.Collect(p.Overlapping(drawn)), slices.Sorted(maps.Keys(overlapping)); !slices.Equal(got, want) {
			t.Fatalf("pieces with elements of %v: %v, want %v", drawn, got, want)
		}
		n := 0
		each(Box{make([]int, len(shape)), shape}, func(index []int) {
			if n++; counts[fmt.Sprint(index)] != p.Replicas() {
				t.Fatalf("mesh %v, spec %v, shape %v: element %v is held %d times, want %d", mesh.Shape, spec, shape, index, counts[fmt.Sprint(index)], p.Replicas())
			}
		})
		if len(counts) != n {
			t.Fatalf("the pieces have %d elements, the array %d", len(counts), n)
		}
	})
}

// each calls f for each index in a box.
func each(b Box, f func(index []int)) {
	if b.Empty() {
		return
	}
	index := slices.Clone(b.Offset)
	for {
		f(index)
		i := len(index) - 1
		for ; i >= 0; i-- {
			if index[i]++; index[i] < b.Offset[i]+b.Size[i] {
				break
			}
			index[i] = b.Offset[i]
		}
		if i < 0 {
			return
		}
	}
}

func TestPiecesRefused(t *testing.T) {
	mesh := Mesh{Shape: []int{2}, AxisNames: []string{"x"}}
	for name, c := range map[string]struct {
		s     *Sharding
		shape []int
		want  error
	}{
		"more entries than axes": {Named(mesh, PartitionSpec{{"x"}}), nil, fault.ErrShape},
		"negative":               {Named(mesh, nil), []int{-1}, fault.ErrShape},
		"raw":                    {&Sharding{Raw: `{"sharding_type": "GSPMDSharding"}`}, nil, fault.ErrUnsupported},
		"none":                   {nil, nil, fault.ErrStructure},
		"unknown axis":           {Named(mesh, PartitionSpec{{"y"}}), []int{2}, fault.ErrStructure},
	} {
		if p, err := c.s.Pieces(c.shape); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v; want %v", name, p, err, c.want)
		}
	}
	p, err := SingleDevice("cpu:0").Pieces([]int{3, 2})
	for _, b := range []Box{{}, {[]int{0}, []int{3}}, {[]int{-1, 0}, []int{3, 2}}, {[]int{0, 1}, []int{3, 2}}, {[]int{0, 0}, []int{3, -1}}} {
		if n, ok := p.Find(b); ok || slices.Collect(p.Overlapping(b)) != nil {
			t.Errorf("%v, which does not lie in the array, is found as %d", b, n)
		}
	}
	if err != nil || p.Places() != 1 || p.Device(0) != -1 || !slices.Equal(p.Box(0).Size, []int{3, 2}) || p.Replicas() != 1 {
		t.Errorf("a single device: %+v, %v", p, err)
	}
}
