package view

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/region"
	_ "github.com/go-orbax/orbax/internal/testenv/fewchecks"
	"github.com/go-orbax/orbax/tree"
)

// TestBoxes checks that boxes cover an array once, in their limit, and that those of
// whole chunks are.
func TestBoxes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape := rapid.SliceOfN(rapid.IntRange(1, 9), 0, 4).Draw(t, "shape")
		chunk := make([]int, len(shape))
		for i, d := range shape {
			chunk[i] = rapid.IntRange(1, d).Draw(t, "chunk")
		}
		item := rapid.SampledFrom([]int{1, 4, 16}).Draw(t, "item")
		limit := rapid.IntRange(16, 4000).Draw(t, "limit")
		rows := rapid.Bool().Draw(t, "rows")
		least := chunk
		if rows {
			least = inRows(chunk, shape)
		}
		fits := func(size []int) bool {
			n, err := region.NumBytes(size, item)
			return err == nil && n <= limit
		}
		size := grow(ones(len(shape)), shape, item, limit)
		if fits(least) {
			size = grow(least, shape, item, limit)
			for i, d := range shape {
				if size[i]%chunk[i] != 0 && size[i] != d {
					t.Fatalf("boxes %v of %v divide chunks %v", size, shape, chunk)
				}
			}
		}
		if !fits(size) {
			t.Fatalf("boxes of %v exceed %d bytes", size, limit)
		}
		total, _ := array.NumElements(shape)
		next := 0
		seen := make([]bool, total)
		for off, n := range boxesOf(shape, size) {
			count := 0
			eachIndex(n, func(index []int) {
				at := 0
				for i, d := range shape {
					at = at*d + off[i] + index[i]
				}
				if seen[at] {
					t.Fatalf("element %d twice", at)
				}
				if rows && at != next {
					t.Fatalf("element %d comes in the place of %d", at, next)
				}
				seen[at] = true
				next++
				count++
			})
			if count == 0 {
				t.Fatal("an empty box")
			}
		}
		if slices.Contains(seen, false) {
			t.Fatalf("boxes %v leave a part of %v out", size, shape)
		}
	})
}

// TestChunksAreDecodedOnce hashes and compares arrays that are larger than a block.
func TestChunksAreDecodedOnce(t *testing.T) {
	shape := []int{64, 48, 1 << 10}
	data, err := array.New(array.Int32, shape, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data.Bytes() {
		data.Bytes()[i] = byte(i * 7)
	}
	var sums []Digest
	for _, chunk := range [][]int{{64, 48, 1 << 10}, {5, 48, 1 << 10}, {1, 10, 300}, {64, 48, 100}} {
		g := &grid{data: data, chunk: chunk}
		m, err := derived(tree.Path{{Name: "a"}}, array.Int32, shape)
		if err != nil {
			t.Fatal(err)
		}
		m.ChunkShape = chunk
		l, err := NewArray(m, g)
		if err != nil {
			t.Fatal(err)
		}
		of := New("", []*Leaf{l})
		sum, _, err := of.Hash(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, sum)
		chunks := int64(1)
		for i, d := range shape {
			chunks *= int64((d-1)/chunk[i] + 1)
		}
		if n := g.decoded.Swap(0); n != chunks {
			t.Errorf("chunks %v: %d of %d were decoded to hash them", chunk, n, chunks)
		}
		memory, err := Of(map[string]any{"a": data})
		if err != nil {
			t.Fatal(err)
		}
		if diffs, err := Diff(t.Context(), of, memory, DiffOptions{}); err != nil || len(diffs) > 0 {
			t.Errorf("%+v, %v", diffs, err)
		}
		if n := g.decoded.Load(); n != chunks {
			t.Errorf("chunks %v: %d of %d were decoded to compare them", chunk, n, chunks)
		}
	}
	if len(slices.Compact(sums)) != 1 {
		t.Errorf("digests %v", sums)
	}
}

// TestImpossibleShapes reads leaves whose descriptions no memory fits.
func TestImpossibleShapes(t *testing.T) {
	for _, shape := range [][]int{{1 << 62}, {1 << 31, 1 << 31}} {
		l, err := NewArray(LeafMetadata{
			Path: tree.Path{{Name: "a"}}, Kind: tree.KindArray, DType: array.Complex128, Shape: shape, ChunkShape: shape,
		}, &grid{})
		if err != nil {
			t.Fatal(err)
		}
		of := New("", []*Leaf{l})
		if _, _, err := of.Hash(t.Context()); !errors.Is(err, fault.ErrShape) {
			t.Errorf("Hash: %v", err)
		}
		if _, err := Diff(t.Context(), of, of, DiffOptions{}); !errors.Is(err, fault.ErrShape) {
			t.Errorf("Diff: %v", err)
		}
	}
	if got := joint([]int{6, 1 << 40}, []int{4, 1<<40 - 1}, []int{100, 1 << 60}); !slices.Equal(got, []int{12, 1 << 60}) {
		t.Errorf("joint chunks %v", got)
	}
}
