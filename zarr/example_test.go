package zarr_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/zarr"
)

func Example() {
	m, err := zarr.New(zarr.Options{
		Shape:      []int{3},
		ChunkShape: []int{2},
		DType:      array.Uint32,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	store := map[string][]byte{m.MetadataName(): m.Document()}
	for index := range m.Chunks() {
		chunk := make([]byte, m.ChunkBytes())
		offset, size := m.ChunkRegion(index)
		for i := range size[0] {
			binary.LittleEndian.PutUint32(chunk[4*i:], uint32(100+offset[0]+i))
		}
		store[m.Key(index)], err = m.AppendChunk(nil, chunk)
		if err != nil {
			fmt.Println(err)
			return
		}
	}

	m, err = zarr.Parse(3, store["zarr.json"])
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.DType, m.Shape, m.Codecs())
	for index := range m.Chunks() {
		chunk := make([]byte, m.ChunkBytes())
		if err := m.DecodeChunk(index, chunk, store[m.Key(index)]); err != nil {
			fmt.Println(err)
			return
		}
		_, size := m.ChunkRegion(index)
		for i := range size[0] {
			fmt.Println(m.Key(index), binary.LittleEndian.Uint32(chunk[4*i:]))
		}
	}
	// Output:
	// uint32 [3] bytes(little) + crc32c
	// c/0 100
	// c/0 101
	// c/1 102
}

// This example reads a box of an array in shards. From each shard it reads only the index
// and the inner chunks that hold elements of the box.
func ExampleMetadata_Inner() {
	m, err := zarr.Parse(3, []byte(`{
		"zarr_format": 3, "node_type": "array", "shape": [8], "data_type": "uint8", "fill_value": 0,
		"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4]}},
		"chunk_key_encoding": {"name": "default"},
		"codecs": [{"name": "sharding_indexed", "configuration": {
			"chunk_shape": [2],
			"codecs": [{"name": "bytes"}],
			"index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}]
		}}]
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	words := func(w ...uint64) (b []byte) {
		for _, x := range w {
			b = binary.LittleEndian.AppendUint64(b, x)
		}
		return b
	}
	store := map[string][]byte{
		"c/0": append([]byte{10, 11, 12, 13}, words(0, 2, 2, 2)...),
		"c/1": append([]byte{14, 15, 16, 17}, words(0, 2, 2, 2)...),
	}

	off, size := []int{3}, []int{2}
	inner, _ := m.Inner()
	chunk := make([]byte, inner.ChunkBytes())
	for index := range m.Overlapping(off, size) {
		stored := store[m.Key(index)] // a reader with random access in place of it
		r, err := m.ShardIndex(int64(len(stored)))
		if err != nil {
			fmt.Println(err)
			return
		}
		ranges, err := m.ParseShardIndex(stored[r.Offset:][:r.Length])
		if err != nil {
			fmt.Println(err)
			return
		}
		for i, at := range m.InnerChunks(index, off, size) {
			r := ranges[i]
			if err := r.Check(int64(len(stored))); err != nil {
				fmt.Println(err)
				return
			}
			if err := inner.DecodeChunk(at, chunk, stored[r.Offset:][:r.Length]); err != nil {
				fmt.Println(err)
				return
			}
			start, _ := inner.ChunkRegion(at)
			fmt.Println(start, chunk)
		}
	}
	// Output:
	// [2] [12 13]
	// [4] [14 15]
}

// A sample of each array decides how the array is stored.
func ExampleCompression_Choose() {
	moments := make([]byte, 64<<10) // of a fresh optimizer: zeros
	weights := make([]byte, 64<<10)
	rand.NewChaCha8([32]byte{}).Read(weights)

	fmt.Println(zarr.Auto().Choose(moments), zarr.Auto().Choose(weights))
	fmt.Println(zarr.Huffman().Choose(weights))
	// Output:
	// zstd(1) none
	// huffman
}

func ExampleChunkShape() {
	// A float32 matrix in chunks of about 8 MiB.
	fmt.Println(zarr.ChunkShape([]int{50000, 1024}, 4, 8<<20))
	// Output: [2000 1024]
}
