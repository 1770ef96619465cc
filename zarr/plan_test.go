package zarr

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestSplitShapeGolden(t *testing.T) {
	path := "testdata/split.json"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Global     []int `json:"global_shape"`
		Shape      []int `json:"shape"`
		ItemSize   int   `json:"item_size"`
		ChunkBytes int   `json:"chunk_bytes"`
		ShardAxes  []int `json:"shard_axes"`
		Want       []int `json:"want"`
	}
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		got, err := SplitShape(c.Global, c.Shape, c.ItemSize, c.ChunkBytes, c.ShardAxes)
		if err != nil || !slices.Equal(got, c.Want) {
			t.Errorf("%+v: got %v, %v", c, got, err)
		}
	}
}

func TestSplitShapeErrors(t *testing.T) {
	for _, c := range []struct {
		global, shape []int
		item, bytes   int
		axes          []int
	}{
		{[]int{4}, []int{4, 4}, 4, 0, nil},
		{[]int{4}, []int{4}, 4, 3, nil},
		{[]int{4}, []int{4}, 4, -1, nil},
		{[]int{4}, []int{4}, 0, 16, nil},
		{[]int{4}, []int{4}, 4, 0, []int{1}},
		{[]int{4}, []int{4}, 4, 0, []int{-1}},
	} {
		if got, err := SplitShape(c.global, c.shape, c.item, c.bytes, c.axes); err == nil {
			t.Errorf("%+v: got %v, want an error", c, got)
		}
	}
}

func TestChunkShape(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		shape        []int
		item, target int
		want         []int
	}{
		{[]int{}, 8, 8 * mib, []int{}},
		{[]int{0}, 4, 8 * mib, []int{1}},
		{[]int{0, 7}, 4, 8 * mib, []int{1, 7}},
		{[]int{100, 100}, 4, 8 * mib, []int{100, 100}},
		{[]int{4096, 4096}, 4, 8 * mib, []int{512, 4096}},
		{[]int{32, 1024, 1024}, 4, 8 * mib, []int{2, 1024, 1024}},
		{[]int{3, 4096, 1024}, 4, 8 * mib, []int{1, 2048, 1024}},
		{[]int{3 * mib}, 4, 8 * mib, []int{3 * mib / 2}},
		{[]int{50257, 768}, 4, 8 * mib, []int{2648, 768}},
		{[]int{5, 5}, 4, 1, []int{1, 1}},
	} {
		if got := ChunkShape(c.shape, c.item, c.target); !slices.Equal(got, c.want) {
			t.Errorf("ChunkShape(%v, %d, %d) = %v, want %v", c.shape, c.item, c.target, got, c.want)
		}
	}
}

func TestChunkShapeProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 10), rapid.IntRange(1, 3000), rapid.IntRange(1, 1<<30)), 0, 5).Draw(t, "shape")
		item := rapid.SampledFrom([]int{1, 2, 4, 8, 16}).Draw(t, "item")
		target := rapid.OneOf(rapid.IntRange(1, 1<<12), rapid.IntRange(1<<12, 1<<26)).Draw(t, "target")
		chunk := ChunkShape(shape, item, target)
		if len(chunk) != len(shape) {
			t.Fatalf("%v", chunk)
		}
		bytes := float64(item)
		run := true // only axes of size 1 so far
		for i, c := range chunk {
			d := max(1, shape[i])
			if c < 1 || c > d+d/100 {
				t.Fatalf("chunk %v", chunk)
			}
			if !run && c != d {
				t.Fatalf("chunk %v is not contiguous", chunk)
			}
			run = run && c == 1
			if pad := (c - d%c) % c; pad*100 > d {
				t.Fatalf("chunk %v pads axis %d by %d", chunk, i, pad)
			}
			bytes *= float64(c)
		}
		if bytes > float64(max(item, 2*target)) {
			t.Fatalf("chunk %v of %v bytes, target %d", chunk, bytes, target)
		}
	})
}
