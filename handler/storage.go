package handler

import (
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/internal/treesave"
	"github.com/go-orbax/orbax/zarr"
)

// StorageOptions say how a pytree is stored. The zero value is the fastest form
// that Orbax accepts: zarr format 3 in one OCDBT database, uncompressed, every
// chunk with a checksum.
type StorageOptions struct {
	// ArrayOptions are the options of every array, unless PerLeaf changes them.
	ArrayOptions
	// PerLeaf, if set, returns the options of one array, given its leaf's path, its
	// shape, dtype and sharding, and the options for all. It is called while the save
	// is planned, on the caller's goroutine.
	PerLeaf func(leaf string, a array.ShapeDtypeStruct, o ArrayOptions) ArrayOptions
	// Zarr2 writes zarr format 2 instead of 3.
	Zarr2 bool
	// PlainFiles writes each document and chunk as a file of its own instead
	// of an OCDBT database.
	PlainFiles bool
	// DataFileSize is the size, in bytes before compression, at which a data file of
	// the database is ended and the next one begun; a chunk lies in one file. 0 is no
	// limit. It is Orbax's ocdbt_target_data_file_size, whose default is 2 GiB. With
	// PlainFiles, and below 0, a save refuses it with ErrUsage.
	DataFileSize int64
}

// ArrayOptions say how one array is stored. They are Orbax's storage options.
type ArrayOptions struct {
	// ChunkByteSize is the most that a chunk may have before compression, in
	// bytes. 0 means about 8 MiB, in runs of the leading axes. The chunks are those
	// that Orbax chooses, whose shape divides the array's, or its shards'; where that
	// would make more than 1024 chunks of less than a quarter of the size, as of a
	// prime number of rows, an array without shards is divided nearly evenly instead.
	// More than 1,048,576 chunks of one array are refused with ErrShape.
	ChunkByteSize int
	// ShardAxes are the axes to divide first when the array is larger than a chunk. Such
	// an axis is divided into single elements if the chunks are still too large.
	ShardAxes []int
	// DType converts arrays when they are written; see array.Convert. Invalid, the
	// zero value, converts none. Only arrays of the same class, floating-point, integer
	// or complex, are converted; so bfloat16 leaves integers alone. What is out of the
	// range of DType changes without an error: an integer becomes the nearest one in
	// range, a float becomes infinity, NaN, the largest value or 0. Scalars, byte strings
	// and PRNG keys are never converted. A load gives the stored dtype: a []float32 does
	// not take a bfloat16 array, a nil *array.Array does.
	DType array.DType
	// Compression of the chunks: zarr.Zstd(3), for example, or zarr.Huffman() for
	// floating-point weights, or zarr.Auto() to compress only the arrays that become
	// much smaller. The zero value is none.
	Compression zarr.Compression
}

// plan returns the options as the plan of a save takes them.
func (s *StorageOptions) plan() treesave.Storage {
	p := treesave.Storage{Arrays: treesave.ArrayOptions(s.ArrayOptions), Zarr2: s.Zarr2, PlainFiles: s.PlainFiles, DataFileSize: s.DataFileSize}
	if s.PerLeaf != nil {
		p.PerLeaf = func(leaf string, a array.ShapeDtypeStruct, o treesave.ArrayOptions) treesave.ArrayOptions {
			return treesave.ArrayOptions(s.PerLeaf(leaf, a, ArrayOptions(o)))
		}
	}
	return p
}

// SnapshotMemory is memory that asynchronous saves copy arrays to. It is kept from
// one save to the next, as memory that is new takes several times as long to copy
// to. The zero value is ready; it grows to what is copied for one save, and for
// each save that goes on at the same time once more. It may be used by several
// goroutines.
type SnapshotMemory struct{ memory transfer.Memory }

// Free gives up the memory that no save uses now.
func (m *SnapshotMemory) Free() { m.memory.Free() }
