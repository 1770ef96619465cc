package zarr

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/klauspost/compress/snappy"

	"github.com/go-orbax/orbax/internal/fault"
)

// bloscFilter is a container of the C-Blosc 1 library. A header describes everything that
// a reader needs. Blocks follow that are shuffled and compressed one by one.
type bloscFilter struct{}

// Flags in the header.
const (
	bloscShuffle    = 1 << 0 // of bytes
	bloscCopied     = 1 << 1 // the content is not compressed
	bloscBitShuffle = 1 << 2
	bloscWhole      = 1 << 4 // blocks are not split into streams
	// bits 5 to 7 are the compressor
)

// Compressors by number. LZ4HC writes the format of LZ4.
const (
	bloscLZ = iota
	bloscLZ4
	bloscSnappy
	bloscZlib
	bloscZstd
)

const (
	bloscHeader    = 16
	bloscMaxSplits = 16  // largest element whose bytes are split into streams
	bloscMinStream = 128 // smallest such stream
)

func (bloscFilter) decode(buf, enc []byte) ([]byte, error) {
	b, size, err := openBlosc(enc)
	switch {
	case err != nil:
		return nil, err
	case size > uint64(len(buf)):
		return nil, fmt.Errorf("%w: blosc: %d bytes, at most %d expected", fault.ErrCorrupt, size, len(buf))
	case size == 0:
		return buf[:0], nil
	}
	buf = buf[:size]
	if b.flags&bloscCopied != 0 {
		copy(buf, enc[bloscHeader:])
		return buf, nil
	}
	if err := b.decodeBlocks(buf); err != nil {
		return nil, fmt.Errorf("%w: blosc: %w", fault.ErrCorrupt, err)
	}
	return buf, nil
}

func (bloscFilter) most(enc []byte, _ int64) (int64, error) {
	b, size, err := openBlosc(enc)
	if err != nil || size == 0 || b.flags&bloscCopied != 0 {
		return int64(size), err
	}
	if err := b.check(int(size)); err != nil {
		return 0, fmt.Errorf("%w: blosc: %w", fault.ErrCorrupt, err)
	}
	return int64(size), nil
}

// openBlosc reads the header of a container, and returns the size of its content.
func openBlosc(enc []byte) (b blosc, size uint64, err error) {
	if len(enc) < bloscHeader {
		return b, 0, fmt.Errorf("%w: blosc: %d bytes are too short", fault.ErrCorrupt, len(enc))
	}
	var (
		version = enc[0]
		block   = uint64(binary.LittleEndian.Uint32(enc[8:]))
		length  = uint64(binary.LittleEndian.Uint32(enc[12:]))
	)
	b = blosc{enc: enc, flags: enc[2], item: int(enc[3]), block: int(block)}
	size = uint64(binary.LittleEndian.Uint32(enc[4:]))
	switch {
	case version != 1 && version != 2:
		return b, 0, fmt.Errorf("%w: blosc: format version %d, want 1 or 2", fault.ErrUnsupported, version)
	case length != uint64(len(enc)):
		return b, 0, fmt.Errorf("%w: blosc: %d bytes, the header says %d", fault.ErrCorrupt, len(enc), length)
	case size == 0:
	case block == 0 || block > size || b.item == 0:
		return b, 0, fmt.Errorf("%w: blosc: blocks of %d bytes and elements of %d in %d", fault.ErrCorrupt, block, b.item, size)
	case b.flags&bloscCopied != 0 && uint64(len(enc)-bloscHeader) != size:
		return b, 0, fmt.Errorf("%w: blosc: %d stored bytes, want %d", fault.ErrCorrupt, len(enc)-bloscHeader, size)
	}
	return b, size, nil
}

type blosc struct {
	enc   []byte
	flags byte
	item  int // size of an element
	block int // size of each block except the last
}

func (b blosc) decodeBlocks(dst []byte) error {
	var scratch []byte
	if b.shuffled() {
		scratch = make([]byte, b.block)
	}
	return b.eachBlock(len(dst), func(i, n int, enc []byte) error {
		return b.decodeBlock(dst[i*b.block:][:n], scratch, enc)
	})
}

// eachBlock calls do for the blocks of a container of size bytes. do gets the block's
// number, its decoded length, and the bytes from the start of its encoded form on.
func (b blosc) eachBlock(size int, do func(i, n int, enc []byte) error) error {
	starts := b.enc[bloscHeader:]
	blocks := (size-1)/b.block + 1
	if len(starts)/4 < blocks {
		return fmt.Errorf("offsets of %d blocks in %d bytes", blocks, len(starts))
	}
	for i := range blocks {
		start := uint64(binary.LittleEndian.Uint32(starts[4*i:]))
		if start > uint64(len(b.enc)) {
			return fmt.Errorf("block %d at %d of %d bytes", i, start, len(b.enc))
		}
		if err := do(i, min(b.block, size-i*b.block), b.enc[start:]); err != nil {
			return fmt.Errorf("block %d: %w", i, err)
		}
	}
	return nil
}

// check reports whether the streams can decode to size bytes. No stream may decode to
// more than its compressor can reach, and each byte counts once.
func (b blosc) check(size int) error {
	left := len(b.enc)
	return b.eachBlock(size, func(_, n int, enc []byte) error {
		return b.eachStream(n, enc, func(_, size int, enc []byte) error {
			if left -= len(enc); left < 0 {
				return fmt.Errorf("several blocks are the same bytes")
			}
			if size/bloscRatio > len(enc) {
				return fmt.Errorf("%d bytes cannot stand for %d", len(enc), size)
			}
			return nil
		})
	})
}

// bloscRatio is higher than the ratio that any of the compressors reaches.
const bloscRatio = 1 << 16

func (b blosc) shuffled() bool {
	return b.flags&bloscShuffle != 0 && b.item > 1 || b.flags&bloscBitShuffle != 0
}

// decodeBlock decodes the block at the start of enc into dst.
func (b blosc) decodeBlock(dst, scratch, enc []byte) error {
	out := dst
	if b.shuffled() {
		out = scratch[:len(dst)]
	}
	err := b.eachStream(len(dst), enc, func(i, n int, enc []byte) error {
		return b.decodeStream(out[i*n:(i+1)*n], enc)
	})
	if err != nil {
		return err
	}
	switch {
	case !b.shuffled():
	case b.flags&bloscShuffle != 0 && b.item > 1:
		unshuffle(dst, out, b.item)
	default:
		unshuffleBits(dst, out, b.item)
	}
	return nil
}

// eachStream calls do for the streams of a block of size bytes. All have the same decoded
// length.
func (b blosc) eachStream(size int, enc []byte, do func(i, n int, enc []byte) error) error {
	streams := 1
	if whole := size == b.block; whole && b.flags&bloscWhole == 0 &&
		b.item <= bloscMaxSplits && size/b.item >= bloscMinStream {
		streams = b.item
	}
	each := size / streams
	if each*streams != size {
		return fmt.Errorf("%d bytes in %d streams", size, streams)
	}
	for i := range streams {
		if len(enc) < 4 {
			return fmt.Errorf("stream %d is cut off", i)
		}
		n := uint64(binary.LittleEndian.Uint32(enc))
		enc = enc[4:]
		if n > uint64(len(enc)) {
			return fmt.Errorf("stream %d of %d bytes, %d left", i, n, len(enc))
		}
		if err := do(i, each, enc[:n]); err != nil {
			return fmt.Errorf("stream %d: %w", i, err)
		}
		enc = enc[n:]
	}
	return nil
}

// decodeStream decompresses enc, which must give exactly dst. If compression did not make
// the stream smaller, it is stored.
func (b blosc) decodeStream(dst, enc []byte) error {
	if len(enc) == len(dst) {
		copy(dst, enc)
		return nil
	}
	var dec []byte
	var err error
	switch compressor := b.flags >> 5; compressor {
	case bloscLZ:
		dec, err = decodeBloscLZ(dst, enc)
	case bloscLZ4:
		dec, err = decodeLZ4(dst, enc)
	case bloscSnappy:
		var n int
		if n, err = snappy.DecodedLen(enc); err == nil && n == len(dst) {
			dec, err = snappy.Decode(dst, enc)
		}
	case bloscZlib:
		dec, err = zlibFilter{}.decode(dst, enc)
	case bloscZstd:
		dec, err = zstdFilter{}.decode(dst, enc)
	default:
		err = fmt.Errorf("%w: compressor %d", fault.ErrUnsupported, compressor)
	}
	if err == nil && len(dec) != len(dst) {
		err = fmt.Errorf("%d bytes, want %d", len(dec), len(dst))
	}
	return err
}

// unshuffle reassembles elements from src, which has the first bytes of all elements,
// then all second bytes and so on. Bytes after the last whole element stay.
func unshuffle(dst, src []byte, item int) {
	n := len(src) / item
	for k := range item {
		row := src[k*n : (k+1)*n]
		for i, x := range row {
			dst[i*item+k] = x
		}
	}
	copy(dst[n*item:], src[n*item:])
}

// unshuffleBits does the same for bits: bit b of byte k of all elements is row 8*k+b,
// lowest bit first. If the elements do not fill the bytes of the rows, they are not
// shuffled at all.
func unshuffleBits(dst, src []byte, item int) {
	n := len(src) / item
	if n%8 != 0 {
		copy(dst, src)
		return
	}
	row := n / 8
	for k := range item {
		for at := range row {
			// Transpose 8 by 8 bits.
			var in [8]byte
			for b := range 8 {
				in[b] = src[(8*k+b)*row+at]
			}
			for i := range 8 {
				var x byte
				for b := range 8 {
					x |= in[b] >> i & 1 << b
				}
				dst[(8*at+i)*item+k] = x
			}
		}
	}
	copy(dst[n*item:], src[n*item:])
}

// checkBlosc checks the parameters of the codec. Format 2 has defaults for them, and
// numbers instead of names; strict is for format 3.
func checkBlosc(conf object, strict bool) error {
	own := "id"
	if strict {
		own = "typesize"
	}
	if err := conf.only("blosc", own, "cname", "clevel", "shuffle", "blocksize"); err != nil {
		return err
	}
	given := func(name string) bool { _, ok := conf[name]; return ok || strict }
	if strict {
		shuffle, err := conf.str("shuffle")
		if err != nil {
			return err
		}
		if !slices.Contains([]string{"noshuffle", "shuffle", "bitshuffle"}, shuffle) {
			return corrupt(`"shuffle" is %q, not "noshuffle", "shuffle" or "bitshuffle"`, shuffle)
		}
		if _, ok := conf["typesize"]; ok || shuffle != "noshuffle" {
			if err := conf.intIn("typesize", 1, 255); err != nil {
				return err
			}
		}
	} else if given("shuffle") {
		if err := conf.intIn("shuffle", -1, 2); err != nil {
			return err
		}
	}
	if given("clevel") {
		if err := conf.intIn("clevel", 0, 9); err != nil {
			return err
		}
	}
	if given("blocksize") {
		if err := conf.intIn("blocksize", 0, 1<<31-1); err != nil {
			return err
		}
	}
	if given("cname") {
		cname, err := conf.str("cname")
		if err != nil {
			return err
		}
		if !slices.Contains([]string{"blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd"}, cname) {
			return unsupported("blosc compressor %q", cname)
		}
	}
	return nil
}
