package zarr

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/klauspost/compress/snappy"

	"github.com/go-orbax/orbax/internal/fault"
)

// bloscFilter is a container of the C-Blosc 1 library: a header that describes
// everything needed for reading, then blocks that are shuffled and compressed
// one by one.
type bloscFilter struct{}

// Flags in the header.
const (
	bloscShuffle    = 1 << 0 // by bytes
	bloscCopied     = 1 << 1 // not compressed as a whole
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
	if len(enc) < bloscHeader {
		return nil, fmt.Errorf("%w: blosc: %d bytes are too short", fault.ErrCorrupt, len(enc))
	}
	var (
		version = enc[0]
		b       = blosc{enc: enc, flags: enc[2], item: int(enc[3])}
		size    = uint64(binary.LittleEndian.Uint32(enc[4:]))
		block   = uint64(binary.LittleEndian.Uint32(enc[8:]))
		length  = uint64(binary.LittleEndian.Uint32(enc[12:]))
	)
	switch {
	case version != 1 && version != 2:
		return nil, fmt.Errorf("%w: blosc: format version %d, want 1 or 2", fault.ErrUnsupported, version)
	case length != uint64(len(enc)):
		return nil, fmt.Errorf("%w: blosc: %d bytes, the header says %d", fault.ErrCorrupt, len(enc), length)
	case size > uint64(len(buf)):
		return nil, fmt.Errorf("%w: blosc: %d bytes, at most %d expected", fault.ErrCorrupt, size, len(buf))
	case size == 0:
		return buf[:0], nil
	case block == 0 || block > size || b.item == 0:
		return nil, fmt.Errorf("%w: blosc: blocks of %d bytes and elements of %d in %d", fault.ErrCorrupt, block, b.item, size)
	}
	buf = buf[:size]
	if b.flags&bloscCopied != 0 {
		if len(enc)-bloscHeader != len(buf) {
			return nil, fmt.Errorf("%w: blosc: %d stored bytes, want %d", fault.ErrCorrupt, len(enc)-bloscHeader, len(buf))
		}
		copy(buf, enc[bloscHeader:])
		return buf, nil
	}
	b.block = int(block)
	if err := b.decodeBlocks(buf); err != nil {
		return nil, fmt.Errorf("%w: blosc: %w", fault.ErrCorrupt, err)
	}
	return buf, nil
}

type blosc struct {
	enc   []byte
	flags byte
	item  int // size of an element
	block int // size of a block but the last
}

func (b blosc) decodeBlocks(dst []byte) error {
	starts := b.enc[bloscHeader:]
	blocks := (len(dst)-1)/b.block + 1
	if len(starts)/4 < blocks {
		return fmt.Errorf("offsets of %d blocks in %d bytes", blocks, len(starts))
	}
	var scratch []byte
	if b.shuffled() {
		scratch = make([]byte, b.block)
	}
	for i := range blocks {
		start := uint64(binary.LittleEndian.Uint32(starts[4*i:]))
		if start > uint64(len(b.enc)) {
			return fmt.Errorf("block %d at %d of %d bytes", i, start, len(b.enc))
		}
		out := dst[i*b.block : min((i+1)*b.block, len(dst))]
		if err := b.decodeBlock(out, scratch, b.enc[start:]); err != nil {
			return fmt.Errorf("block %d: %w", i, err)
		}
	}
	return nil
}

func (b blosc) shuffled() bool {
	return b.flags&bloscShuffle != 0 && b.item > 1 || b.flags&bloscBitShuffle != 0
}

// decodeBlock decodes the block at the start of enc into dst.
func (b blosc) decodeBlock(dst, scratch, enc []byte) error {
	out := dst
	if b.shuffled() {
		out = scratch[:len(dst)]
	}
	streams := 1
	if whole := len(dst) == b.block; whole && b.flags&bloscWhole == 0 &&
		b.item <= bloscMaxSplits && len(dst)/b.item >= bloscMinStream {
		streams = b.item
	}
	size := len(dst) / streams
	if size*streams != len(dst) {
		return fmt.Errorf("%d bytes in %d streams", len(dst), streams)
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
		if err := b.decodeStream(out[i*size:(i+1)*size], enc[:n]); err != nil {
			return fmt.Errorf("stream %d: %w", i, err)
		}
		enc = enc[n:]
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

// decodeStream decompresses enc, which must give exactly dst. A stream that
// compression would not make smaller is stored.
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

// unshuffle puts together elements whose first bytes come first in src, then
// all second ones and so on. Bytes after the last whole element stay.
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

// unshuffleBits does the same for bits: bit b of byte k of all elements comes in
// row 8*k+b, lowest bit first. A number of elements that does not fill the bytes
// of the rows is not shuffled at all.
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

// checkBlosc checks the parameters of the codec, for which format 2 has defaults
// and numbers instead of names; strict is for format 3.
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
