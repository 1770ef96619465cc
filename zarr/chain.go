package zarr

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/memory"
)

// chain is a codec chain. First come transposes, which are composed into one, then the
// codec that makes bytes of an array (plain bytes or a shard), then filters over bytes,
// in the order in which encoding applies them. TensorStore allows no filter after a
// shard.
type chain struct {
	shape   []int    // of the decoded chunk
	item    int      // size of an element in bytes
	size    int      // size of the decoded chunk in bytes
	perm    []int    // stored axis i is chunk axis perm[i]; nil: same order
	swap    int      // size of the units whose bytes are stored big-endian; below 2: none
	shard   *shard   // nil: plain bytes
	filters []filter // the last is the outermost
	labels  []string // the codecs' names, for people
}

// filter is a codec from bytes to bytes.
type filter interface {
	// decode returns the decoded form of enc. It is at most len(buf) bytes, which are
	// either at the start of buf or a part of enc.
	decode(buf, enc []byte) ([]byte, error)
	// most returns an upper bound for the length of the decoded form of enc. The bound
	// follows from the content of enc and not from the length that enc states. If the
	// decoded form is longer than limit, the bound may be too low. most takes little
	// memory.
	most(enc []byte, limit int64) (int64, error)
}

// maxRatio bounds how many bytes one byte of a chunk can decode to, so that memory stays
// in proportion to the input. The bound is more than any of the compressors reaches
// (observed with zeros: zstd 32,750, bzip2 1,370,000). Several filters together may reach
// as much as the best filter alone.
func (c *chain) maxRatio() int64 {
	if c.shard != nil {
		return max(c.shard.inner.maxRatio(), 1<<16) // inner chunks that are all padding are absent
	}
	ratio := int64(1)
	for i := range c.filters {
		ratio = min(ratio*filterRatio(c.filters[i]), filterRatio(bzip2Filter{}))
	}
	return ratio
}

func filterRatio(f filter) int64 {
	switch f.(type) {
	case crcFilter:
		return 1
	case bzip2Filter:
		return 1 << 21
	}
	return 1 << 16
}

// decode decodes enc into dst, which has the chain's size and does not overlap enc.
// inside is the size of the region of the chunk that lies within the array; the rest is
// padding, which a shard may leave out. If other inner chunks are absent, decode fills
// them with the element absent, or fails if absent is nil. After an error the contents of
// dst are unspecified.
func (c *chain) decode(dst, enc []byte, inside []int, absent []byte) error {
	out := dst
	var err error
	if c.perm != nil {
		if out, err = memory.Bytes(int64(c.size)); err != nil {
			return err
		}
		inside = pick(inside, c.perm)
	}
	if c.shard != nil {
		err = c.shard.decode(out, enc, inside, absent)
	} else {
		err = c.unpack(out, enc)
	}
	if err != nil {
		return err
	}
	if c.perm != nil {
		transpose(dst, out, c.shape, c.perm, c.item)
	}
	return nil
}

// unpack undoes the filters and the byte order.
func (c *chain) unpack(dst, enc []byte) error {
	switch last := len(c.filters) - 1; {
	case last == 0 && c.filters[0] == filter(crcFilter{}) && len(enc) == len(dst)+crcSize:
		// The chunks that this package writes: verify and copy in one pass.
		if err := checkCRC(copyCRC(dst, enc[:len(dst)]), enc[len(dst):]); err != nil {
			return err
		}
	default:
		var err error
		if enc, err = c.outer(enc); err != nil {
			return err
		}
		if last >= 0 {
			if enc, err = c.filters[0].decode(dst, enc); err != nil {
				return err
			}
		}
		if len(enc) != len(dst) {
			return fmt.Errorf("%w: chunk of %d bytes, want %d", fault.ErrCorrupt, len(enc), len(dst))
		}
		if &enc[0] != &dst[0] {
			copy(dst, enc)
		}
	}
	swapBytes(dst, c.swap)
	return nil
}

// outer undoes all filters except the first, which is the innermost.
func (c *chain) outer(enc []byte) ([]byte, error) {
	for i := len(c.filters) - 1; i > 0; i-- {
		buf, err := c.intermediate(i, enc)
		if err == nil {
			enc, err = c.filters[i].decode(buf, enc)
		}
		if err != nil {
			return nil, err
		}
	}
	return enc, nil
}

// intermediate returns a buffer for the result of filter i on enc. It is no longer than
// enc can fill, and no longer than the earlier filters can make a chunk. It is nil for a
// filter that needs no buffer.
func (c *chain) intermediate(i int, enc []byte) ([]byte, error) {
	if c.filters[i] == filter(crcFilter{}) {
		return nil, nil
	}
	limit := c.encodedMost(i)
	n, err := c.filters[i].most(enc, limit)
	if err != nil {
		return nil, err
	}
	return memory.Bytes(min(n, limit))
}

// encodedMost returns an upper bound for the length of a chunk after the first n filters.
func (c *chain) encodedMost(n int) int64 {
	limit := c.size
	for range n {
		limit = encodedLimit(limit)
	}
	return int64(limit)
}

// check returns an error if enc, which is long enough for [Metadata.CheckStored], cannot
// be a whole chunk. The sizes that enc states do not influence how much memory check
// takes.
func (c *chain) check(enc []byte) error {
	if c.shard != nil || len(c.filters) == 0 {
		return nil // a shard's parts are checked; plain bytes have their exact size
	}
	var err error
	if len(c.filters) == 2 && c.filters[1] == filter(crcFilter{}) {
		enc = enc[:max(0, len(enc)-crcSize)] // decode verifies the checksum
	} else if enc, err = c.outer(enc); err != nil {
		return err
	}
	n, err := c.filters[0].most(enc, int64(c.size))
	if err == nil && n < int64(c.size) {
		err = fmt.Errorf("%w: %d bytes can be no more than %d of a chunk of %d", fault.ErrCorrupt, len(enc), n, c.size)
	}
	return err
}

// encodedLimit returns the largest length that a filter's encoding of n bytes may have.
// Compressors store bytes that they cannot compress, with less overhead than this.
func encodedLimit(n int) int { return n + n/8 + 4096 }

// swapBytes reverses the bytes of each unit.
func swapBytes(b []byte, unit int) {
	switch unit {
	case 2:
		for i := 0; i+2 <= len(b); i += 2 {
			b[i], b[i+1] = b[i+1], b[i]
		}
	case 4:
		for i := 0; i+4 <= len(b); i += 4 {
			binary.LittleEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
		}
	case 8:
		for i := 0; i+8 <= len(b); i += 8 {
			binary.LittleEndian.PutUint64(b[i:], binary.BigEndian.Uint64(b[i:]))
		}
	}
}

// encodedSize returns the size of an encoded chunk, if all encoded chunks have the same.
func (c *chain) encodedSize() (n int, fixed bool) {
	if c.shard != nil {
		return 0, false
	}
	n = c.size
	for _, f := range c.filters {
		if _, ok := f.(crcFilter); !ok {
			return 0, false
		}
		n += crcSize
	}
	return n, true
}

func (c *chain) String() string { return strings.Join(c.labels, " + ") }

// transpose copies src to dst. dst has the given shape, and axis i of src is axis perm[i]
// of dst. Both are row-major with elements of item bytes.
func transpose(dst, src []byte, shape, perm []int, item int) {
	rank := len(shape)
	if rank == 0 {
		copy(dst, src)
		return
	}
	stride := make([]int, rank) // in src, along the axes of dst
	n := item
	for i := rank - 1; i >= 0; i-- {
		stride[perm[i]] = n
		n *= shape[perm[i]]
	}
	last := rank - 1
	index := make([]int, last)
	for at := 0; at < len(dst); {
		from := 0
		for i, x := range index {
			from += x * stride[i]
		}
		for range shape[last] {
			copyItem(dst[at:], src[from:], item)
			at += item
			from += stride[last]
		}
		next(index, shape[:last])
	}
}

func copyItem(dst, src []byte, item int) {
	switch item {
	case 1:
		dst[0] = src[0]
	case 2:
		binary.LittleEndian.PutUint16(dst, binary.LittleEndian.Uint16(src))
	case 4:
		binary.LittleEndian.PutUint32(dst, binary.LittleEndian.Uint32(src))
	case 8:
		binary.LittleEndian.PutUint64(dst, binary.LittleEndian.Uint64(src))
	default:
		copy(dst[:item], src[:item])
	}
}

const crcSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crcFilter is the codec "crc32c". It appends the CRC-32C of the bytes, little-endian.
type crcFilter struct{}

func (crcFilter) most(enc []byte, _ int64) (int64, error) { return int64(len(enc)), nil }

func (crcFilter) decode(_, enc []byte) ([]byte, error) {
	n := len(enc) - crcSize
	if n < 0 {
		return nil, fmt.Errorf("%w: %d bytes, too short for a CRC-32C", fault.ErrCorrupt, len(enc))
	}
	if err := checkCRC(crc32.Checksum(enc[:n], castagnoli), enc[n:]); err != nil {
		return nil, err
	}
	return enc[:n], nil
}

func checkCRC(got uint32, stored []byte) error {
	if want := binary.LittleEndian.Uint32(stored); got != want {
		return fmt.Errorf("%w: CRC-32C is %08x, stored %08x", fault.ErrCorrupt, got, want)
	}
	return nil
}

// copyCRC copies src to dst and returns its CRC-32C. It does both in one pass
// over memory, in pieces that stay in the cache.
func copyCRC(dst, src []byte) (crc uint32) {
	const piece = 64 << 10
	for at := 0; at < len(src); at += piece {
		part := src[at:min(at+piece, len(src))]
		crc = crc32.Update(crc, castagnoli, part)
		copy(dst[at:], part)
	}
	return crc
}
