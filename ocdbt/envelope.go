package ocdbt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/memory"
)

// Manifests and nodes have the same envelope:
//
//	magic          4 bytes, big endian
//	length         8 bytes, little endian: all bytes from the magic to the checksum
//	version        varint, 0
//	compression    varint, 0 for none, 1 for zstd
//	body           compressed as said
//	checksum       4 bytes, little endian: CRC-32C of all bytes before it
const (
	manifestMagic = 0x0cdb3a2a
	nodeMagic     = 0x0cdb20de

	envelopeHeader = 14 // with the two varints of one byte each
	minEnvelope    = 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openEnvelope checks the envelope b, which is one whole object, and returns the body.
// The body aliases b if it is not compressed.
func openEnvelope(b []byte, magic uint32) ([]byte, error) {
	if len(b) < minEnvelope {
		return nil, corruptf("%d bytes, fewer than the minimum of %d", len(b), minEnvelope)
	}
	if got := binary.BigEndian.Uint32(b); got != magic {
		return nil, corruptf("begins with %08x, not with the magic number %08x", got, magic)
	}
	if got := binary.LittleEndian.Uint64(b[4:]); got != uint64(len(b)) {
		return nil, corruptf("length field says %d bytes, there are %d", got, len(b))
	}
	end := len(b) - 4
	want, got := binary.LittleEndian.Uint32(b[end:]), crc32.Checksum(b[:end], castagnoli)
	if got != want {
		return nil, corruptf("CRC-32C of the bytes is %08x, recorded is %08x", got, want)
	}
	c := cursor{b: b[12:end]}
	version := c.uvarint("format version", 1<<32-1)
	compression := c.uvarint("compression", 1<<32-1)
	switch {
	case c.err != nil:
		return nil, corruptf("%w", c.err)
	case version != 0:
		return nil, fmt.Errorf("%w: format version %d, only 0 is known", fault.ErrUnsupported, version)
	case compression == 0:
		return c.b, nil
	case compression == 1:
		return unzstd(c.b)
	}
	return nil, fmt.Errorf("%w: compression method %d, only 0 (none) and 1 (zstd) are known", fault.ErrUnsupported, compression)
}

// beginEnvelope returns a buffer to which the caller appends an uncompressed body of
// about size bytes.
func beginEnvelope(magic uint32, size int) []byte {
	b := make([]byte, envelopeHeader, envelopeHeader+size+4)
	binary.BigEndian.PutUint32(b, magic)
	return b
}

// endEnvelope completes the envelope that beginEnvelope began.
func endEnvelope(b []byte) []byte {
	binary.LittleEndian.PutUint64(b[4:], uint64(len(b)+4))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// maxUnzipped bounds the decoded size of a compressed object. TensorStore
// splits nodes at max_decoded_node_bytes, which Orbax sets to 100 MB.
const maxUnzipped = 256 << 20

// maxNode bounds the stored size of a node, and so the size of an uncompressed node.
const maxNode = maxUnzipped + envelopeHeader + 4

var newDecoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxUnzipped))
})

// unzstd decompresses b, which must be exactly one zstd frame.
func unzstd(b []byte) ([]byte, error) {
	bound, err := frameBound(b)
	if err != nil {
		return nil, corruptf("zstd frame: %w", err)
	}
	if limit := min(maxUnzipped, justified(int64(len(b)))); bound > uint64(limit) {
		return nil, corruptf("zstd frame: may hold %d bytes, the limit for one of %d is %d", bound, len(b), limit)
	}
	d, err := newDecoder()
	if err != nil {
		return nil, err
	}
	var out []byte
	if bound > maxBlock { // without a capacity the decoder doubles its buffer until the content fits
		if out, err = memory.Bytes(int64(bound)); err != nil {
			return nil, err
		}
	}
	if out, err = d.DecodeAll(b, out[:0]); err != nil {
		return nil, corruptf("zstd frame: %w", err)
	}
	if len(out) < cap(out)/2 {
		out = bytes.Clone(out) // the caller may keep it for long
	}
	return out, nil
}

// maxBlock is the largest decoded size of a zstd block.
const maxBlock = 128 << 10

// frameBound checks that b is one zstd frame with nothing after it, as TensorStore does.
// It returns an upper bound of the decoded size, which follows from the number of blocks.
// The size that the frame declares must not exceed it. See RFC 8878, section 3.1.1.
func frameBound(b []byte) (uint64, error) {
	var h zstd.Header
	if err := h.Decode(b); err != nil {
		return 0, err
	}
	if h.Skippable {
		return 0, fmt.Errorf("is a skippable frame")
	}
	c := cursor{b: b[h.HeaderSize:]}
	var bound uint64
	for last := false; !last && c.err == nil; {
		head := c.bytes("block header", 3)
		if c.err != nil {
			break
		}
		v := uint32(head[0]) | uint32(head[1])<<8 | uint32(head[2])<<16
		last = v&1 != 0
		size := v >> 3
		switch v >> 1 & 3 {
		case 0: // raw
			c.bytes("raw block", int(size))
			bound += uint64(size)
		case 1: // one byte, repeated
			c.bytes("repeated byte", 1)
			bound += min(uint64(size), maxBlock)
		default:
			c.bytes("compressed block", int(size))
			bound += maxBlock
		}
	}
	if h.HasCheckSum {
		c.bytes("checksum", 4)
	}
	if err := c.end(); err != nil {
		return 0, err
	}
	if h.HasFCS && h.FrameContentSize > bound {
		return 0, fmt.Errorf("declares %d bytes, its blocks hold at most %d", h.FrameContentSize, bound)
	}
	if h.HasFCS {
		bound = h.FrameContentSize
	}
	return bound, nil
}
