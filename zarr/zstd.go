package zarr

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"

	"github.com/go-orbax/orbax/internal/fault"
)

const (
	minZstdLevel = -131072
	maxZstdLevel = 22

	zstdMagic     = 0xfd2fb528
	zstdBlockSize = 128 << 10 // largest block the format allows
)

// zstdFilter is one zstd frame. TensorStore's decoder stops after the first
// frame, so several frames, or a skippable one, are an error here as they are
// there.
type zstdFilter struct{}

// The decoders keep no state between calls, and are only used with DecodeAll,
// which starts no goroutine. The memory for the result is the caller's.
var zstdDecoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return err
	}
	return d
}}

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
	if f.raw {
		return f.copyRaw(buf, enc)
	}
	v := zstdDecoders.Get()
	d, ok := v.(*zstd.Decoder)
	if !ok {
		return nil, fmt.Errorf("zstd decoder: %w", v.(error))
	}
	defer zstdDecoders.Put(d)
	dec, err := d.DecodeAll(enc, buf[:0:len(buf)])
	if err != nil {
		return nil, fmt.Errorf("%w: zstd frame: %w", fault.ErrCorrupt, err)
	}
	return dec, nil
}

// zstdFrame is the outline of a frame, RFC 8878 section 3.1.1.
type zstdFrame struct {
	blocks      int    // offset of the first block
	hasSize     bool   // the header tells the content size
	contentSize uint64 // 0 if it does not
	checksum    bool   // the low half of XXH64 of the content follows the blocks
	raw         bool   // all blocks are stored, not compressed
}

// parseZstd reads the outline of the frame that must fill enc. It does not look
// into compressed blocks.
func parseZstd(enc []byte) (zstdFrame, error) {
	var f zstdFrame
	bad := func(format string, args ...any) (zstdFrame, error) {
		return f, fmt.Errorf("%w: zstd frame: %w", fault.ErrCorrupt, fmt.Errorf(format, args...))
	}
	if len(enc) < 5 {
		return bad("%d bytes are too short", len(enc))
	}
	if magic := binary.LittleEndian.Uint32(enc); magic != zstdMagic {
		return bad("magic number %08x, want %08x", magic, uint32(zstdMagic))
	}
	desc := enc[4]
	single := desc&0x20 != 0
	f.checksum = desc&4 != 0
	// One bit is reserved, the other unused; every encoder leaves both zero.
	if desc&0x18 != 0 {
		return bad("a reserved bit is set")
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
		return bad("%d bytes are too short for the header", len(enc))
	}
	f.hasSize = sizeBytes > 0
	var word [8]byte
	copy(word[:], enc[at:at+sizeBytes])
	f.contentSize = binary.LittleEndian.Uint64(word[:])
	if sizeBytes == 2 {
		f.contentSize += 256
	}
	at += sizeBytes
	f.blocks = at

	f.raw = desc&3 == 0 // the decoder deals with dictionaries
	for last := false; !last; {
		if len(enc)-at < 3 {
			return bad("ends within its blocks, after %d bytes", len(enc))
		}
		head := zstdBlockHeader(enc[at:])
		size := head.size
		switch head.kind {
		case blockRLE:
			size = 1
			f.raw = false
		case blockCompressed:
			f.raw = false
		case blockReserved:
			return bad("block of reserved type at %d", at)
		}
		at += 3
		if size > len(enc)-at {
			return bad("block of %d bytes at %d exceeds the %d bytes", size, at, len(enc))
		}
		at += size
		last = head.last
	}
	if f.checksum {
		at += 4
	}
	if at != len(enc) {
		return bad("is %d bytes long, of %d", at, len(enc))
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
	size int
}

func zstdBlockHeader(b []byte) zstdBlock {
	head := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
	return zstdBlock{last: head&1 != 0, kind: head >> 1 & 3, size: head >> 3}
}

// copyRaw decodes a frame of stored blocks, at the speed of the checksum.
func (f zstdFrame) copyRaw(buf, enc []byte) ([]byte, error) {
	n := 0
	var hash xxhash.Digest
	hash.Reset()
	for at, last := f.blocks, false; !last; {
		head := zstdBlockHeader(enc[at:])
		if head.size > zstdBlockSize || head.size > len(buf)-n {
			return nil, fmt.Errorf("%w: zstd block of %d bytes after %d, at most %d expected", fault.ErrCorrupt, head.size, n, len(buf))
		}
		at += 3
		block := enc[at : at+head.size]
		if f.checksum {
			_, _ = hash.Write(block) // block by block, while it is in the cache
		}
		n += copy(buf[n:], block)
		at += head.size
		last = head.last
	}
	if f.hasSize && uint64(n) != f.contentSize {
		return nil, fmt.Errorf("%w: zstd frame holds %d bytes and claims %d", fault.ErrCorrupt, n, f.contentSize)
	}
	if f.checksum {
		want := binary.LittleEndian.Uint32(enc[len(enc)-4:])
		if got := uint32(hash.Sum64()); got != want {
			return nil, fmt.Errorf("%w: zstd checksum is %08x, stored %08x", fault.ErrCorrupt, got, want)
		}
	}
	return buf[:n], nil
}

// appendZstd appends src as one frame with content size and checksum.
func appendZstd(dst, src []byte, level int) ([]byte, error) {
	speed := zstd.EncoderLevelFromZstd(level)
	pool := &zstdEncoders[speed]
	e, _ := pool.Get().(*zstd.Encoder)
	if e == nil {
		var err error
		e, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(speed),
			zstd.WithEncoderCRC(true))
		if err != nil {
			return nil, fmt.Errorf("zstd encoder: %w", err)
		}
	}
	defer pool.Put(e)
	return e.EncodeAll(src, dst), nil
}

// appendStored appends src as one zstd frame of stored blocks with content size
// and checksum, which adds a checksum to data that stays as it is. Content over
// one block gets a window of one block, not one of its own size, so that
// decoders need no memory in proportion to it.
func appendStored(dst, src []byte) []byte {
	n := len(src)
	dst = binary.LittleEndian.AppendUint32(dst, zstdMagic)
	const checksum, single, window = 0x04, 0x20, 7 << 3 // 2^(10+7) bytes
	switch {
	case n < 256:
		dst = append(dst, single|checksum, byte(n))
	case n < 256+1<<16:
		dst = append(dst, 1<<6|single|checksum)
		dst = binary.LittleEndian.AppendUint16(dst, uint16(n-256))
	case n <= zstdBlockSize:
		dst = append(dst, 2<<6|single|checksum)
		dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	default:
		dst = append(dst, 3<<6|checksum, window)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(n))
	}
	var hash xxhash.Digest
	hash.Reset()
	for rest := src; ; {
		block := rest[:min(len(rest), zstdBlockSize)]
		rest = rest[len(block):]
		head := uint32(len(block))<<3 | blockRaw<<1
		if len(rest) == 0 {
			head |= 1
		}
		dst = append(dst, byte(head), byte(head>>8), byte(head>>16))
		dst = append(dst, block...)
		_, _ = hash.Write(block)
		if len(rest) == 0 {
			break
		}
	}
	return binary.LittleEndian.AppendUint32(dst, uint32(hash.Sum64()))
}

// storedSize returns the length of what appendStored makes of n bytes.
func storedSize(n int) int {
	header := 14 // with window and 8 bytes of size
	switch {
	case n < 256:
		header = 6
	case n < 256+1<<16:
		header = 7
	case n <= zstdBlockSize:
		header = 9
	}
	return header + 3*max(1, (n-1)/zstdBlockSize+1) + n + 4
}

// zstdBound returns an upper bound for the length of what appendZstd makes of n
// bytes: the encoder stores each block that it cannot make smaller.
func zstdBound(n int) int { return n + 3*(n/zstdBlockSize+1) + 32 }
