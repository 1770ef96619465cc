package zarr

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// Direct reads a chunk whose stored bytes are its elements straight to its place in
// memory; see [Metadata.Direct].
type Direct struct {
	// Step must be called with the elements as they arrive, piece by piece and in order,
	// while they are in the cache. It is nil if the chunk has no checksum of the
	// elements.
	Step func(piece []byte)

	dtype array.DType
	crc   bool
	sum   uint32
}

// Direct returns the way to read the chunk at index without a second copy of it. The
// index must lie within the grid.
//
// ok is true if the stored chunk begins with the elements that are in the array, those of
// [Metadata.ChunkRegion], row-major and little-endian, and only padding and a checksum
// follow. Otherwise the chunk needs [Metadata.DecodeChunk].
//
// For bools without a checksum ok is false: a byte that is neither 0 nor 1 is damage, and
// must be found before it is in the array.
func (m *Metadata) Direct(index []int) (d *Direct, ok bool) {
	crc, ok := m.verbatim()
	if !ok || m.DType == array.Bool && !crc {
		return nil, false
	}
	_, size := m.ChunkRegion(index)
	if inner := min(1, len(size)); !slices.Equal(size[inner:], m.ChunkShape[inner:]) {
		return nil, false // there is padding between the elements
	}
	d = &Direct{dtype: m.DType, crc: crc}
	if crc {
		d.Step = func(piece []byte) { d.sum = crc32.Update(d.sum, castagnoli, piece) }
	}
	return d, true
}

// Done verifies the chunk after Step has seen all of its elements in the array. data is
// these elements, which Done brings into the form that package array requires. rest is
// the bytes after the elements in the stored chunk. The errors are those of
// [Metadata.DecodeChunk].
func (d *Direct) Done(data, rest []byte) error {
	if d.crc {
		n := len(rest) - crcSize
		if n < 0 {
			return fmt.Errorf("%w: %d bytes after the elements, too short for a CRC-32C", fault.ErrCorrupt, len(rest))
		}
		if err := checkCRC(crc32.Update(d.sum, castagnoli, rest[:n]), rest[n:]); err != nil {
			return err
		}
	}
	return Finish(d.dtype, data)
}

// verbatim reports whether an encoded chunk is the decoded chunk itself, row-major and
// little-endian. If crc is true, its CRC-32C follows.
func (m *Metadata) verbatim() (crc, ok bool) {
	c := m.chain
	if c.perm != nil || c.shard != nil || c.swap > 1 {
		return false, false
	}
	switch {
	case len(c.filters) == 0:
		return false, true
	case len(c.filters) == 1 && c.filters[0] == filter(crcFilter{}):
		return true, true
	}
	return false, false
}

// EncodedLeast returns a lower bound for the length of an encoded chunk:
// [Metadata.EncodedBound] if nothing is compressed, else 0.
func (m *Metadata) EncodedLeast() int {
	if how := m.encoding(); how == encodeVerbatim || how == encodeStored {
		return m.EncodedBound()
	}
	return 0
}

// Tail lets a caller write the chunk from the place where it lies, instead of with
// [Metadata.AppendChunk]. ok is true if AppendChunk would append the chunk unchanged.
// appendTail then appends the bytes that would follow it: the CRC-32C if the metadata
// asks for one, else nothing. The chunk must not change before that. ok is false for
// dtypes whose elements AppendChunk checks, such as bool.
func (m *Metadata) Tail(chunk []byte) (appendTail func(dst []byte) []byte, ok bool) {
	crc, ok := m.verbatim()
	if !ok || m.DType == array.Bool || usedBits(m.DType) != 0xff {
		return nil, false
	}
	return func(dst []byte) []byte {
		if !crc {
			return dst
		}
		return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(chunk, castagnoli))
	}, true
}

// Raw reports whether a stored chunk consists of its elements, row-major and
// little-endian, and nothing else. There is no checksum either, which could only be
// verified with the whole chunk. Any range of a raw chunk can be read by itself: element
// k of the chunk, which has all of [ChunkShape] with its padding, is at byte k times the
// size of the dtype. Pass the bytes that were read to [Finish].
func (m *Metadata) Raw() bool {
	crc, ok := m.verbatim()
	return ok && !crc
}

// CheckStored returns an error that matches orbax.ErrCorrupt if no stored chunk of this
// array has n bytes. Chunks have another size then, or need more bytes for so much
// content. A reader calls it before it allocates [Metadata.ChunkBytes], which may be any
// number in a damaged document.
//
// With [Metadata.Filling] metadata any number of inner chunks may be missing from a
// shard. CheckStored then applies its rule only to shards of more than twice the size of
// the array and more than 64 MiB.
func (m *Metadata) CheckStored(n int64) error {
	want, fixed := m.chain.encodedSize()
	short := int64(m.chain.size)/m.chain.maxRatio() > n
	if s := m.chain.shard; s != nil && m.absent != nil {
		size, _ := product(m.Shape, m.DType.Size(), math.MaxInt)
		short = n < int64(s.indexSize) || short && m.chain.size/2 > max(size, sparseChunk/2)
	}
	if fixed && n != int64(want) {
		return fmt.Errorf("%w: %d bytes are stored, and a chunk of this array takes %d", fault.ErrCorrupt, n, want)
	}
	if short {
		return fmt.Errorf("%w: %d bytes cannot hold a chunk of %d", fault.ErrCorrupt, n, m.chain.size)
	}
	if c := m.chain; c.shard == nil && n > c.encodedMost(len(c.filters)) {
		return fmt.Errorf("%w: %d bytes, more than any encoding of a chunk of %d has", fault.ErrCorrupt, n, c.size)
	}
	return nil
}

// CheckEncoded returns an error if the content of enc cannot decode to a chunk of
// [Metadata.ChunkBytes]. enc has a length that [Metadata.CheckStored] accepts. The error
// is that of [Metadata.DecodeChunk]. A reader calls it before it takes the memory that a
// chunk of a large array claims.
func (m *Metadata) CheckEncoded(enc []byte) error { return m.chain.check(enc) }

// sparseChunk is the size up to which a shard may always consist of the fill value alone.
const sparseChunk = 64 << 20
