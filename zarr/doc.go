// Package zarr reads and writes the documents and the chunk encodings of zarr format 2
// (".zarray") and format 3 ("zarr.json"), as TensorStore does.
//
// A [Metadata] holds the content of such a document: the shape, dtype and chunk grid of
// an array, the key of each chunk, and the encoding of a chunk's bytes. The package does
// no I/O; callers fetch and store the bytes under the keys.
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
// Chunks are left as they are, or compressed by [Zstd] or [Huffman]. [Auto] looks at a
// sample of the array to choose:
//
//	options.Compression = zarr.Auto().Choose(sample)
//
// To read an array, [Parse] the document and pass each chunk's bytes to
// [Metadata.DecodeChunk]. In memory chunks are row-major and little-endian, whatever
// their encoding. They are always full: chunks at the edge of the array carry padding,
// and [Metadata.ChunkRegion] returns the region of the array that they hold.
//
// To read a box of an array, fetch the chunks that [Metadata.Overlapping] yields. For
// shards, [Metadata.Inner] and the methods that it names find the inner chunks that
// overlap the box. From [Metadata.Raw] chunks any range can be read. [Metadata.Fill]
// gives a chunk that is not stored its fill value; the caller decides whether that is
// right, or whether a missing chunk is an error.
//
// Everything that the package writes carries a checksum that TensorStore verifies:
// CRC-32C after raw format 3 chunks, the content checksum of a zstd frame otherwise. The
// package reads everything that TensorStore reads, for the dtypes of package array. It
// checks all sizes that a document or a chunk states before it allocates memory for them.
package zarr
