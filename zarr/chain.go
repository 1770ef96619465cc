package zarr

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
)

// chain is a codec chain: transposes, which are composed into one; then the
// codec that makes bytes of an array, either plain bytes or a shard; then
// filters over bytes, in the order in which encoding applies them. TensorStore
// allows no filter after a shard.
type chain struct {
	shape   []int    // of the decoded chunk
	item    int      // bytes of an element
	size    int      // bytes of the decoded chunk
	perm    []int    // stored axis i is chunk axis perm[i]; nil: same order
	swap    int      // bytes of each unit stored big-endian; below 2: none
	shard   *shard   // nil: plain bytes
	filters []filter // last one outermost
	labels  []string // the codecs' names, for people
}

// filter is a codec from bytes to bytes.
type filter interface {
	// decode returns the decoded form of enc: at most len(buf) bytes, which
	// are either at the start of buf or part of enc.
	decode(buf, enc []byte) ([]byte, error)
}

// maxRatio bounds what one byte of a chunk can stand for: more than any of the
// compressors reaches (observed with zeros: zstd 32,750, bzip2 1,370,000), one
// behind the other their product. It keeps memory in proportion to the input.
func (c *chain) maxRatio() int64 {
	if c.shard != nil {
		return max(c.shard.inner.maxRatio(), 1<<16) // inner chunks that are all padding are absent
	}
	ratio := int64(1)
	for i := range c.filters {
		ratio = min(ratio*filterRatio(c.filters[i]), 1<<40)
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

// decode decodes enc into dst, which has the chain's size and does not overlap
// enc. The chunk lies within the array as far as the size inside; the rest is
// padding, which a shard may leave out. Other inner chunks that are absent are
// filled with the element absent; if it is nil, they are an error. After an error
// the contents of dst are unspecified.
func (c *chain) decode(dst, enc []byte, inside []int, absent []byte) error {
	out := dst
	if c.perm != nil {
		out = make([]byte, c.size)
		inside = pick(inside, c.perm)
	}
	var err error
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
		// What this project writes: verify and copy in one pass.
		if err := checkCRC(copyCRC(dst, enc[:len(dst)]), enc[len(dst):]); err != nil {
			return err
		}
	default:
		for i := last; i >= 0; i-- {
			buf := dst
			if i > 0 {
				buf = c.intermediate(i, len(enc))
			}
			var err error
			if enc, err = c.filters[i].decode(buf, enc); err != nil {
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

// intermediate returns a buffer for what filter i makes of n bytes, which the
// filters before it encoded. It is nil for a filter that needs none.
func (c *chain) intermediate(i, n int) []byte {
	if c.filters[i] == filter(crcFilter{}) {
		return nil
	}
	limit := c.size
	for range i {
		limit = encodedLimit(limit)
	}
	return make([]byte, min(int64(limit), filterRatio(c.filters[i])*int64(n+1)))
}

// encodedLimit returns the most bytes that a filter's encoding of n bytes is
// allowed to have. Compressors store what they cannot compress, with less
// overhead than this.
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

// encodedSize returns the size of an encoded chunk if it is always the same.
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

// transpose copies src, an array whose axis i is axis perm[i] of dst, into dst,
// which has the given shape. Both are row-major with elements of item bytes.
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

// crcFilter is the codec "crc32c": a CRC-32C of the bytes, little-endian, after
// them.
type crcFilter struct{}

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
