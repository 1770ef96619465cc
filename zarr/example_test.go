package zarr_test

import (
	"encoding/binary"
	"fmt"

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

func ExampleChunkShape() {
	// A float32 matrix in chunks of about 8 MiB.
	fmt.Println(zarr.ChunkShape([]int{50000, 1024}, 4, 8<<20))
	// Output: [2000 1024]
}
