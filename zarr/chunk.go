package zarr

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// DecodeChunk decodes enc, the chunk at index, into dst. dst must have
// [Metadata.ChunkBytes] bytes and must not overlap enc. The elements in dst have the form
// that package array requires ([array.Canonicalize]).
//
// DecodeChunk verifies checksums, and the decoded size must be exact. Damage is an error
// that matches orbax.ErrCorrupt. A shard that lacks one of its inner chunks is such an
// error too, and also matches fs.ErrNotExist, unless the metadata is [Metadata.Filling].
// Inner chunks beyond the array's edge may always be absent; index says which ones are.
// An index outside the grid, or a dst of another length, is an error that matches
// orbax.ErrShape. After an error the contents of dst are unspecified.
func (m *Metadata) DecodeChunk(index []int, dst, enc []byte) error {
	if err := m.checkIndex(index); err != nil {
		return err
	}
	if len(dst) != m.chain.size {
		return fmt.Errorf("%w: destination of %d bytes for a chunk of %d", fault.ErrShape, len(dst), m.chain.size)
	}
	_, inside := m.ChunkRegion(index)
	if err := m.chain.decode(dst, enc, inside, m.absent); err != nil {
		return err
	}
	return Finish(m.DType, dst)
}

// Finish brings elements of dtype d that were read from a store into the form that
// package array requires, in place; see [array.Canonicalize]. A bool that is neither 0
// nor 1 is an error that matches orbax.ErrCorrupt; TensorStore refuses it too.
// [Metadata.DecodeChunk] calls Finish.
func Finish(d array.DType, elements []byte) error {
	if d == array.Bool {
		if i := badBool(elements); i >= 0 {
			return fmt.Errorf("%w: element %d of a bool chunk is %d, not 0 or 1", fault.ErrCorrupt, i, elements[i])
		}
		return nil
	}
	array.Canonicalize(d, elements)
	return nil
}

// CheckElements refuses elements of dtype d that no reader accepts, which are bools other
// than 0 and 1. The error matches orbax.ErrLeafType. [Metadata.AppendChunk] makes the
// same check; callers that write many chunks call CheckElements first.
func CheckElements(d array.DType, elements []byte) error {
	if d != array.Bool {
		return nil
	}
	if i := badBool(elements); i >= 0 {
		return fmt.Errorf("%w: element %d of the bools is the byte %d, not 0 or 1; array.Canonicalize makes it 1", fault.ErrLeafType, i, elements[i])
	}
	return nil
}

// badBool returns the index of the first byte that is neither 0 nor 1, or -1.
func badBool(b []byte) int {
	i := 0
	for i+8 <= len(b) && binary.LittleEndian.Uint64(b[i:])&^0x0101010101010101 == 0 {
		i += 8
	}
	for ; i < len(b); i++ {
		if b[i] > 1 {
			return i
		}
	}
	return -1
}

func (m *Metadata) checkIndex(index []int) error {
	grid := m.grid()
	ok := len(index) == len(grid)
	for i := 0; ok && i < len(grid); i++ {
		ok = index[i] >= 0 && index[i] < grid[i]
	}
	if !ok {
		return fmt.Errorf("%w: chunk index %v in a grid of %v", fault.ErrShape, index, grid)
	}
	return nil
}

// EncodedBound returns an upper bound for the length of an encoded chunk. It is 0 for
// metadata whose chunks [Metadata.AppendChunk] cannot encode.
func (m *Metadata) EncodedBound() int {
	switch m.encoding() {
	case encodeVerbatim:
		n, _ := m.chain.encodedSize()
		return n
	case encodeStored, encodeHuffman:
		return storedSize(m.chain.size)
	case encodeZstd:
		return zstdBound(m.chain.size)
	}
	return 0
}

// AppendChunk appends the encoded form of chunk to dst. The chunk must have
// [Metadata.ChunkBytes] bytes: a full chunk, row-major and little-endian, padded at the
// array's edge; otherwise the error matches orbax.ErrShape. AppendChunk does not change
// it.
//
// As in TensorStore, bits that the dtype does not use are written as zero. A bool that is
// neither 0 nor 1, which TensorStore refuses to read, is an error that matches
// orbax.ErrLeafType. AppendChunk encodes the chunks of metadata that [New] can make; for
// other metadata the error matches orbax.ErrUnsupported.
func (m *Metadata) AppendChunk(dst, chunk []byte) ([]byte, error) {
	if len(chunk) != m.chain.size {
		return nil, fmt.Errorf("%w: chunk of %d bytes, want %d", fault.ErrShape, len(chunk), m.chain.size)
	}
	how := m.encoding()
	if how == encodeNothing {
		return nil, fmt.Errorf("%w: writing chunks encoded by %s", fault.ErrUnsupported, m.Codecs())
	}
	if err := CheckElements(m.DType, chunk); err != nil {
		return nil, err
	}
	if mask := usedBits(m.DType); mask != 0xff {
		masked := make([]byte, len(chunk))
		for i, b := range chunk {
			masked[i] = b & mask
		}
		chunk = masked
	}
	switch how {
	case encodeStored:
		return appendStored(slices.Grow(dst, storedSize(len(chunk))), chunk), nil
	case encodeHuffman:
		return appendHuffman(dst, chunk), nil
	case encodeZstd:
		return appendZstd(dst, chunk, m.level)
	}
	size, _ := m.chain.encodedSize()
	start := len(dst)
	dst = slices.Grow(dst, size)[:start+len(chunk)]
	crc := copyCRC(dst[start:], chunk)
	if len(m.chain.filters) > 0 {
		dst = binary.LittleEndian.AppendUint32(dst, crc)
	}
	return dst, nil
}

type encoding int

const (
	encodeZstd     encoding = iota // zstd frame that the library makes
	encodeHuffman                  // zstd frame of literals
	encodeStored                   // zstd frame of stored blocks
	encodeVerbatim                 // the unchanged chunk, with a CRC-32C if the metadata says so
	encodeNothing
)

func (m *Metadata) encoding() encoding {
	if _, ok := m.verbatim(); ok {
		return encodeVerbatim
	}
	c := m.chain
	if c.perm != nil || c.shard != nil || c.swap > 1 || len(c.filters) != 1 || c.filters[0] != filter(zstdFilter{}) {
		return encodeNothing
	}
	return m.frames
}

// usedBits returns a mask of the bits that dtype d uses in each byte.
func usedBits(d array.DType) byte {
	switch d {
	case array.Int2:
		return 0x03
	case array.Int4, array.Float4E2M1FN:
		return 0x0f
	}
	return 0xff
}
