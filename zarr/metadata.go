package zarr

import (
	"fmt"
	"math"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

const (
	maxRank = 32      // TensorStore's limit
	maxDim  = 1 << 62 // largest dimension, TensorStore's index range

	// maxChunkBytes bounds a decoded chunk, so that sizes derived from it (a shard index,
	// an upper bound with overhead) cannot overflow.
	maxChunkBytes = 1 << 56
)

// Metadata describes a stored array. [Parse] and [New] make it. It must not be changed;
// several goroutines may use it at the same time.
type Metadata struct {
	Format     int         // 2 or 3
	Shape      []int       // of the array
	ChunkShape []int       // of every chunk, each at least 1; may exceed Shape
	DType      array.DType // of the elements

	doc    []byte
	keys   keyEncoding
	chain  *chain
	fill   []byte   // one element
	absent []byte   // the fill value for absent inner chunks; nil: they are errors
	frames encoding // how zstd frames are written
	level  int      // of zstd
}

// Options describes an array to be written.
type Options struct {
	Format      int // 2 or 3; 0 means 3
	Shape       []int
	ChunkShape  []int // each at least 1; nil means one chunk for the whole array
	DType       array.DType
	Compression Compression
}

// New returns the metadata of an array to be written. It copies the slices of o. Options
// that no document can express are an error.
func New(o Options) (*Metadata, error) {
	m := &Metadata{
		Format:     o.Format,
		Shape:      append([]int{}, o.Shape...),
		ChunkShape: append([]int{}, o.ChunkShape...),
		DType:      o.DType,
	}
	if m.Format == 0 {
		m.Format = 3
	}
	if m.Format != 2 && m.Format != 3 {
		return nil, fmt.Errorf("%w: zarr format %d, want 2 or 3", fault.ErrUnsupported, m.Format)
	}
	if o.ChunkShape == nil {
		for _, d := range m.Shape {
			m.ChunkShape = append(m.ChunkShape, max(1, d))
		}
	}
	if err := o.Compression.check(); err != nil {
		return nil, err
	}
	size, err := m.check()
	if err != nil {
		return nil, err
	}
	m.chain = &chain{shape: m.ChunkShape, item: m.DType.Size(), size: size}
	m.fill = make([]byte, m.DType.Size())
	m.frames, m.level = o.Compression.frames()
	if m.Format == 2 {
		m.keys = keyEncoding{separator: "."}
		m.chain.filters = []filter{zstdFilter{}}
		m.doc = m.document2()
		return m, nil
	}
	m.keys = keyEncoding{prefix: "c", separator: "/"}
	if m.frames == encodeStored {
		m.chain.filters = []filter{crcFilter{}}
	} else {
		m.chain.filters = []filter{zstdFilter{}}
	}
	m.doc = m.document3()
	return m, nil
}

// check verifies shape, chunk shape and dtype, and returns the decoded size of a chunk.
func (m *Metadata) check() (chunkBytes int, err error) {
	if m.DType.Size() == 0 {
		return 0, fmt.Errorf("%w: invalid dtype %v", fault.ErrDType, m.DType)
	}
	if m.DType > array.Complex128 {
		return 0, fmt.Errorf("%w: neither TensorStore nor Orbax has %v: cast it to bfloat16", fault.ErrDType, m.DType)
	}
	if len(m.Shape) > maxRank {
		return 0, fmt.Errorf("%w: rank %d, at most %d", fault.ErrUnsupported, len(m.Shape), maxRank)
	}
	if len(m.ChunkShape) != len(m.Shape) {
		return 0, fmt.Errorf("%w: chunk shape %v for array shape %v", fault.ErrShape, m.ChunkShape, m.Shape)
	}
	for i, d := range m.Shape {
		if d < 0 || d > maxDim {
			return 0, fmt.Errorf("%w: dimension %d of shape %v", fault.ErrShape, d, m.Shape)
		}
		if c := m.ChunkShape[i]; c < 1 || c > maxDim {
			return 0, fmt.Errorf("%w: dimension %d of chunk shape %v", fault.ErrShape, c, m.ChunkShape)
		}
	}
	if _, ok := product(m.Shape, m.DType.Size(), math.MaxInt); !ok {
		return 0, fmt.Errorf("%w: array of shape %v of %v is too large", fault.ErrUnsupported, m.Shape, m.DType)
	}
	n, ok := product(m.ChunkShape, m.DType.Size(), maxChunkBytes)
	if !ok {
		return 0, fmt.Errorf("%w: chunk of shape %v of %v is too large", fault.ErrUnsupported, m.ChunkShape, m.DType)
	}
	return n, nil
}

// product returns item times the product of shape. ok reports whether the product of item
// and the non-zero dimensions stays within limit.
func product(shape []int, item, limit int) (n int, ok bool) {
	n = item
	zero := false
	for _, d := range shape {
		if d == 0 {
			zero = true
			continue
		}
		if n > limit/d {
			return 0, false
		}
		n *= d
	}
	if zero {
		return 0, true
	}
	return n, n <= limit
}

// MetadataName returns the key of the document; see [DocumentName].
func (m *Metadata) MetadataName() string { return DocumentName(m.Format) }

// DocumentName returns the key of the document in a format, relative to the array:
// "zarr.json", or ".zarray" for format 2.
func DocumentName(format int) string {
	if format == 2 {
		return ".zarray"
	}
	return "zarr.json"
}

// Document returns the JSON document. For metadata from [New] these are the bytes that
// TensorStore writes, for metadata from [Parse] the bytes that were parsed. The caller
// may keep and change the slice.
func (m *Metadata) Document() []byte { return slices.Clone(m.doc) }

// Codecs describes the encoding of chunks, for people: "bytes(little) + crc32c", "F +
// blosc", "sharding_indexed[2 2](bytes + zstd)".
func (m *Metadata) Codecs() string { return m.chain.String() }

// ChunkBytes returns the size of one decoded chunk in bytes.
func (m *Metadata) ChunkBytes() int { return m.chain.size }
