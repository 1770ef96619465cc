package view

import (
	"context"
	"iter"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/region"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
)

// asked is a grid that keeps the chunks that it was asked for.
type asked struct {
	*grid
	chunks []*Chunk
}

func (a *asked) Chunks(ctx context.Context, off, size []int) iter.Seq2[*Chunk, error] {
	return func(yield func(*Chunk, error) bool) {
		a.parts(off, size, func(p *Chunk, err error) bool {
			a.chunks = append(a.chunks, p)
			return yield(p, err)
		})
	}
}

// A load of shards looks for the chunks that overlap one of them and for no others, so
// that damage elsewhere does not matter, and decodes each once.
func TestShardsDecodeEachChunkOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape := rapid.SliceOfN(rapid.IntRange(1, 8), 1, 3).Draw(t, "shape")
		chunk := make([]int, len(shape))
		for i, d := range shape {
			chunk[i] = rapid.IntRange(1, d).Draw(t, "chunk")
		}
		n, _ := array.NumElements(shape)
		data, err := array.New(array.Int32, shape, nil)
		for i := range n {
			data.Bytes()[4*i] = byte(i)
		}
		if err != nil {
			t.Fatal(err)
		}
		g := &asked{grid: &grid{data: data, chunk: chunk}}
		l, err := NewArray(LeafMetadata{Kind: tree.KindArray, DType: array.Int32, Shape: shape}, g)
		if err != nil {
			t.Fatal(err)
		}
		mesh := sharding.Mesh{AxisNames: []string{"x", "y"}, Shape: []int{rapid.IntRange(1, 4).Draw(t, "x"), rapid.IntRange(1, 4).Draw(t, "y")}}
		spec := make(sharding.PartitionSpec, len(shape))
		for _, name := range mesh.AxisNames {
			k := rapid.IntRange(0, len(shape)-1).Draw(t, "entry")
			spec[k] = append(spec[k], name)
		}
		mine := rapid.SliceOfN(rapid.Bool(), 16, 16).Draw(t, "devices of this process")
		process := sharding.Process{Size: 2, Owner: func(device int) int {
			if mine[device] {
				return 0
			}
			return 1
		}}
		a, err := array.AllocSharded(array.ShapeDtypeStruct{Shape: shape, DType: array.Int32, Sharding: sharding.Named(mesh, spec)}, process)
		if err != nil {
			t.Fatal(err)
		}
		if err := New("test", []*Leaf{l}).LoadInto(t.Context(), a, tree.BindOptions{}); err != nil {
			t.Fatal(err)
		}
		needed := func(p *Chunk) bool {
			return slices.ContainsFunc(a.Shards(), func(s array.Shard) bool {
				_, _, ok := intersect(p.Offset, p.Size, s.Offset, s.Array.Shape())
				return ok
			})
		}
		for _, p := range g.chunks {
			if !needed(p) {
				t.Fatalf("the load looked for the chunk at %v, which no shard needs", p.Offset)
			}
		}
		wanted := 0
		g.parts(make([]int, len(shape)), shape, func(p *Chunk, _ error) bool {
			if needed(p) {
				wanted++
			}
			return true
		})
		if g.decoded.Load() != int64(wanted) {
			t.Fatalf("%d chunks were decoded, %d overlap the %d shards", g.decoded.Load(), wanted, len(a.Shards()))
		}
		for _, s := range a.Shards() {
			want, err := array.New(array.Int32, s.Array.Shape(), nil)
			if err == nil {
				err = data.ReadRegion(t.Context(), want.Bytes(), s.Offset, s.Array.Shape())
			}
			if err != nil || !s.Array.Equal(want) {
				t.Fatalf("shard at %v is %v, want %v (%v)", s.Offset, s.Array.Bytes(), want.Bytes(), err)
			}
		}
	})
}

// Groups hold the placements, do not overlap, and are larger than the boxes of their
// placements only if these overlap.
func TestGroups(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rank := rapid.IntRange(0, 3).Draw(t, "rank")
		s := &source{}
		boxes := map[int]sharding.Box{}
		for i := range rapid.IntRange(1, 8).Draw(t, "boxes") {
			b := sharding.Box{}
			shape := make([]int, rank)
			for k := range shape {
				shape[k] = 10
				b.Offset = append(b.Offset, rapid.IntRange(0, 9).Draw(t, "off"))
				b.Size = append(b.Size, rapid.IntRange(1, 10-b.Offset[k]).Draw(t, "size"))
			}
			l, err := NewArray(LeafMetadata{DType: array.Int8, Shape: shape}, &grid{})
			if err != nil {
				t.Fatal(err)
			}
			v, err := l.pieces[0].view.Box(b.Offset, b.Size)
			if err != nil {
				t.Fatal(err)
			}
			boxes[i] = b
			s.placed = append(s.placed, placement{view: v})
		}
		tree := s.tree()
		groups := s.groups(&tree)
		seen := map[int]bool{}
		for k, g := range groups {
			var placed []int
			for i, b := range boxes {
				if meets(&g, &b) {
					placed = append(placed, i)
				}
			}
			overlaps := false
			volume := 0
			for _, i := range placed {
				if seen[i] {
					t.Fatalf("box %d is in two groups", i)
				}
				seen[i] = true
				b := boxes[i]
				if _, n, _ := intersect(g.Offset, g.Size, b.Offset, b.Size); !slices.Equal(n, b.Size) {
					t.Fatalf("group %v is without box %v", g, b)
				}
				n, _ := region.NumElements(b.Size)
				volume += n
				for _, j := range placed {
					if _, _, ok := intersect(b.Offset, b.Size, boxes[j].Offset, boxes[j].Size); ok && i != j {
						overlaps = true
					}
				}
			}
			if n, _ := region.NumElements(g.Size); !overlaps && n != volume {
				t.Fatalf("group %v holds %d elements, its boxes %d", g, n, volume)
			}
			for _, h := range groups[:k] {
				if joins(&g, &h) {
					t.Fatalf("groups %v and %v overlap, or together are a box", g, h)
				}
			}
		}
		if len(seen) != len(s.placed) {
			t.Fatalf("%d of %d boxes are in groups", len(seen), len(s.placed))
		}
	})
}
