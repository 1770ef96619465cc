// Package zarr reads and writes the two documents and the chunk encodings of
// zarr format 2 (".zarray") and format 3 ("zarr.json"), as TensorStore does.
//
// A [Metadata] is what such a document says: the shape, dtype and chunk grid of
// an array, the key of each chunk, and how a chunk's bytes are encoded. The
// package does no I/O; callers fetch and store the bytes under the keys.
//
// To write an array:
//
//	m, err := zarr.New(zarr.Options{Shape: shape, DType: array.Float32,
//		ChunkShape: zarr.ChunkShape(shape, 4, 8<<20)})
//	put(m.MetadataName(), m.Document())
//	for index := range m.Chunks() {
//		enc, err := m.AppendChunk(nil, paddedChunk(index))
//		put(m.Key(index), enc)
//	}
//
// Chunks are left as they are, or compressed by [Zstd] or [Huffman]. [Auto] looks
// at a sample of the array to choose:
//
//	options.Compression = zarr.Auto().Choose(sample)
//
// To read one, [Parse] the document and give each chunk's bytes to
// [Metadata.DecodeChunk]. Chunks are row-major and little-endian in memory,
// whatever their encoding, and always full: those at the edge of the array
// carry padding, and [Metadata.ChunkRegion] says which part of them is array.
//
// To read a box of one, fetch the chunks that [Metadata.Overlapping] yields. Of
// shards, [Metadata.Inner] and what it names give the inner chunks that overlap
// the box; of [Metadata.Raw] chunks any part can be read. [Metadata.Fill] makes
// what a chunk that is not stored stands for; whether that, or an error, is right
// is for the caller to say.
//
// What is written carries a checksum that TensorStore verifies: CRC-32C after
// raw format 3 chunks, the content checksum of a zstd frame otherwise. What is
// read is everything that TensorStore reads, for the dtypes of package array.
// All sizes that a document or a chunk claims are checked before memory is
// allocated for them.
package zarr
