package treesave

import (
	"fmt"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/zarr"
)

// Storage says how a pytree is stored. The fields are those of handler.StorageOptions,
// which explains them.
type Storage struct {
	Arrays       ArrayOptions // options of every array; PerLeaf may change them
	PerLeaf      func(leaf string, a array.ShapeDtypeStruct, o ArrayOptions) ArrayOptions
	Zarr2        bool
	PlainFiles   bool
	DataFileSize int64
}

// ArrayOptions say how one array is stored. The fields are those of handler.ArrayOptions,
// which explains them.
type ArrayOptions struct {
	ChunkByteSize int
	ShardAxes     []int
	DType         array.DType
	Compression   zarr.Compression
}

func (s *Storage) check() error {
	switch {
	case s.DataFileSize < 0:
		return fmt.Errorf("%w: a DataFileSize of %d", fault.ErrUsage, s.DataFileSize)
	case s.DataFileSize > 0 && s.PlainFiles:
		return fmt.Errorf("%w: DataFileSize is for a database, and PlainFiles writes none; leave one of them out", fault.ErrUsage)
	}
	return nil
}
