package zarr

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/go-orbax/orbax/internal/fault"
)

const (
	minZstdLevel = -131072
	maxZstdLevel = 22

	zstdMagic     = 0xfd2fb528
	zstdBlockSize = 128 << 10 // largest block that the format allows
)

// zstdFilter is one zstd frame. TensorStore's decoder stops after the first frame, so
// several frames, or a skippable frame, are an error in both.
type zstdFilter struct{}

// The decoders keep no state between calls, and only DecodeAll is called, which starts no
// goroutine. The caller provides the memory for the result.
var zstdDecoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return err
	}
	return d
}}

// encoders has room for one encoder for each core. Each encoder keeps 8 MiB and more, so
// more of them would take memory and save no time.
var encoders = sync.OnceValue(func() chan struct{} { return make(chan struct{}, runtime.GOMAXPROCS(0)) })

// takeEncoder waits until an encoder may run. The caller calls done when the encoder has
// finished.
func takeEncoder() (done func()) {
	encoders() <- struct{}{}
	return func() { <-encoders() }
}

// zstdEncoders has one pool for each speed of the encoder.
var zstdEncoders [zstd.SpeedBestCompression + 1]sync.Pool

func (zstdFilter) decode(buf, enc []byte) ([]byte, error) {
	f, err := parseZstd(enc)
	if err != nil {
		return nil, err
	}
	if f.contentSize > uint64(len(buf)) {
		return nil, fmt.Errorf("%w: zstd frame of %d bytes, at most %d expected", fault.ErrCorrupt, f.contentSize, len(buf))
	}
	if f.literalsOnly {
		return f.decodeLiterals(buf, enc)
	}
	v := zstdDecoders.Get()
	d, ok := v.(*zstd.Decoder)
	if !ok {
		return nil, fmt.Errorf("zstd decoder: %w", v.(error))
	}
	defer zstdDecoders.Put(d)
	dec, err := d.DecodeAll(enc, buf[:0:len(buf)])
	if err != nil {
		return nil, badFrame("%w", err)
	}
	return dec, nil
}

func (zstdFilter) most(enc []byte, _ int64) (int64, error) {
	f, err := parseZstd(enc)
	if err != nil {
		return 0, err
	}
	if f.hasSize {
		return int64(f.contentSize), nil
	}
	return int64(f.most), nil
}

// badFrame returns an error about a frame.
func badFrame(format string, args ...any) error {
	return fmt.Errorf("%w: zstd frame: %w", fault.ErrCorrupt, fmt.Errorf(format, args...))
}

// zstdFrame is the outline of a frame, RFC 8878 section 3.1.1.
type zstdFrame struct {
	blocks       int    // offset of the first block
	window       uint64 // largest distance of a match; no block is larger
	hasSize      bool   // the header has the content size
	contentSize  uint64 // 0 if the header has none
	checksum     bool   // the low half of XXH64 of the content follows the blocks
	literalsOnly bool   // no block has sequences, so decodeLiterals can decode the frame
	most         uint64 // upper bound for the content of the blocks
}

// parseZstd parses the outline of the frame that must fill enc. In compressed blocks it
// only looks whether they have sequences.
func parseZstd(enc []byte) (zstdFrame, error) {
	var f zstdFrame
	if len(enc) < 5 {
		return f, badFrame("%d bytes are too short", len(enc))
	}
	if magic := binary.LittleEndian.Uint32(enc); magic != zstdMagic {
		return f, badFrame("magic number %08x, want %08x", magic, uint32(zstdMagic))
	}
	desc := enc[4]
	single := desc&0x20 != 0
	f.checksum = desc&4 != 0
	// One bit is reserved, the other unused; every encoder leaves both zero.
	if desc&0x18 != 0 {
		return f, badFrame("a reserved bit is set")
	}
	at := 5
	if !single {
		at++ // window descriptor
	}
	at += [4]int{0, 1, 2, 4}[desc&3] // dictionary ID
	sizeBytes := [4]int{0, 2, 4, 8}[desc>>6]
	if sizeBytes == 0 && single {
		sizeBytes = 1
	}
	if len(enc) < at+sizeBytes {
		return f, badFrame("%d bytes are too short for the header", len(enc))
	}
	f.hasSize = sizeBytes > 0
	var word [8]byte
	copy(word[:], enc[at:at+sizeBytes])
	f.contentSize = binary.LittleEndian.Uint64(word[:])
	if sizeBytes == 2 {
		f.contentSize += 256
	}
	if single {
		f.window = max(f.contentSize, 1<<10) // the smallest window there is
	} else {
		exponent, eighths := enc[5]>>3, enc[5]&7
		f.window = (8 + uint64(eighths)) << (7 + exponent)
	}
	at += sizeBytes
	f.blocks = at

	f.literalsOnly = desc&3 == 0 // the library handles dictionaries
	for last := false; !last; {
		if len(enc)-at < 3 {
			return f, badFrame("ends within its blocks, after %d bytes", len(enc))
		}
		head := zstdBlockHeader(enc[at:])
		if head.kind == blockReserved {
			return f, badFrame("block of reserved type at %d", at)
		}
		at += 3
		f.most += head.most(f.window)
		size := head.dataSize()
		if size > len(enc)-at {
			return f, badFrame("block of %d bytes at %d exceeds the %d bytes", size, at, len(enc))
		}
		if head.kind == blockCompressed && f.literalsOnly {
			_, f.literalsOnly = parseLiterals(enc[at : at+size])
		}
		at += size
		last = head.last
	}
	if f.checksum {
		at += 4
	}
	if at != len(enc) {
		return f, badFrame("is %d bytes long, of %d", at, len(enc))
	}
	if f.hasSize && f.contentSize > f.most {
		return f, badFrame("declares %d bytes, its blocks hold at most %d", f.contentSize, f.most)
	}
	return f, nil
}

const (
	blockRaw = iota
	blockRLE
	blockCompressed
	blockReserved
)

type zstdBlock struct {
	last bool
	kind int
	size int // of the data of a compressed block, otherwise of the decoded block
}

func zstdBlockHeader(b []byte) zstdBlock {
	head := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
	return zstdBlock{last: head&1 != 0, kind: head >> 1 & 3, size: head >> 3}
}

// dataSize returns the number of bytes that follow the header.
func (b zstdBlock) dataSize() int {
	if b.kind == blockRLE {
		return 1
	}
	return b.size
}

// most returns an upper bound for the decoded size of a block.
func (b zstdBlock) most(window uint64) uint64 {
	limit := min(window, zstdBlockSize)
	if b.kind == blockCompressed {
		return limit
	}
	return min(uint64(b.size), limit)
}

// minLibrary is the length below which the library's frames lack their content size,
// which some decoders of zarr chunks need.
const minLibrary = 256

// appendZstd appends src as one frame with content size and checksum. Blocks without
// sequences, as most blocks of weights are, are entropy-coded too, as in the C library;
// by default the library that is used here stores them.
func appendZstd(dst, src []byte, level int) ([]byte, error) {
	if len(src) < minLibrary {
		return appendHuffman(dst, src), nil
	}
	defer takeEncoder()()
	speed := zstd.EncoderLevelFromZstd(level)
	pool := &zstdEncoders[speed]
	e, _ := pool.Get().(*zstd.Encoder)
	if e == nil {
		var err error
		e, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(speed),
			zstd.WithEncoderCRC(true), zstd.WithAllLitEntropyCompression(true))
		if err != nil {
			return nil, fmt.Errorf("zstd encoder: %w", err)
		}
	}
	defer pool.Put(e)
	return e.EncodeAll(src, dst), nil
}

// zstdBound returns an upper bound for the length of the frame that appendZstd makes of n
// bytes. The encoder stores each block that it cannot make smaller. At its fastest level
// blocks have half the largest size.
func zstdBound(n int) int { return n + 3*(2*n/zstdBlockSize+1) + 32 }
