package handler

import (
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/internal/treesave"
	"github.com/go-orbax/orbax/zarr"
)

// StorageOptions say how a pytree is stored. The zero value is the fastest form that
// Orbax accepts: zarr format 3 in one OCDBT database, uncompressed, with a checksum for
// every chunk.
type StorageOptions struct {
	// ArrayOptions are the options of every array. PerLeaf may change them.
	ArrayOptions
	// PerLeaf, if set, returns the options of one array. leaf is the leaf's path, a has
	// the array's shape, dtype and sharding, and o holds the options for all arrays. A
	// save calls it on the caller's goroutine, before it writes anything.
	PerLeaf func(leaf string, a array.ShapeDtypeStruct, o ArrayOptions) ArrayOptions
	// Zarr2 writes zarr format 2 instead of 3.
	Zarr2 bool
	// PlainFiles writes each document and chunk as a separate file instead of into an
	// OCDBT database.
	PlainFiles bool
	// DataFileSize limits the data files of the database. When a file has reached this
	// size, in bytes before compression, the next file begins. No chunk is split between
	// files. 0 means no limit. The option is Orbax's ocdbt_target_data_file_size, whose
	// default is 2 GiB. A save fails with orbax.ErrUsage if the value is negative, or if
	// it is not 0 and PlainFiles is set.
	DataFileSize int64
}

// ArrayOptions say how one array is stored. They are Orbax's storage options.
type ArrayOptions struct {
	// ChunkByteSize is the largest size of a chunk before compression, in bytes. 0 means
	// about 8 MiB, in runs of the leading axes. The chunks are those that Orbax chooses:
	// their shape divides the shape of the array, or of its shards. For an array with,
	// say, a prime number of rows, this may give more than 1024 chunks of less than a
	// quarter of the size. If such an array has no shards, it is divided nearly evenly
	// instead. If an array would have more than 1,048,576 chunks, the save fails with
	// orbax.ErrShape.
	ChunkByteSize int
	// ShardAxes are the axes that are divided first when the array is larger than a
	// chunk. Such an axis is divided into single elements if the chunks are still too
	// large.
	ShardAxes []int
	// DType is the dtype to which arrays are converted when they are written; see
	// [array.Convert]. The zero value, [array.Invalid], converts none. Arrays are
	// converted only within their class, which is floating-point, integer or complex; so
	// [array.BFloat16] leaves integers alone. Elements out of the range of DType change
	// without an error: an integer becomes the nearest integer in range; a float becomes
	// infinity, NaN, the largest value or 0. Scalars, byte strings and PRNG keys are
	// never converted. A load gives the stored dtype: a []float32 does not take a
	// bfloat16 array, but a nil *[array.Array] does.
	DType array.DType
	// Compression is the compression of the chunks. [zarr.Zstd] is one; [zarr.Huffman] is
	// made for floating-point weights; [zarr.Auto] compresses only the arrays that become
	// much smaller. The zero value does not compress.
	Compression zarr.Compression
}

// plan converts the options to those of package treesave.
func (s *StorageOptions) plan() treesave.Storage {
	p := treesave.Storage{Arrays: treesave.ArrayOptions(s.ArrayOptions), Zarr2: s.Zarr2, PlainFiles: s.PlainFiles, DataFileSize: s.DataFileSize}
	if s.PerLeaf != nil {
		p.PerLeaf = func(leaf string, a array.ShapeDtypeStruct, o treesave.ArrayOptions) treesave.ArrayOptions {
			return treesave.ArrayOptions(s.PerLeaf(leaf, a, ArrayOptions(o)))
		}
	}
	return p
}

// SnapshotMemory is the memory to which asynchronous saves copy arrays. It is kept from
// one save to the next, because copying to new memory takes several times as long. The
// zero value is ready for use. It grows to the size of the arrays that one save copies,
// and by as much again for each save that runs at the same time. Several goroutines may
// use it.
type SnapshotMemory struct{ memory transfer.Memory }

// Free releases the memory that no save uses now.
func (m *SnapshotMemory) Free() { m.memory.Free() }
