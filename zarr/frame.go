package zarr

import (
	"bytes"
	"encoding/binary"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/huff0"
)

// huffCoders holds scratch memory for appendHuffman, of type *huff0.Scratch.
var huffCoders = sync.Pool{New: func() any { return new(huff0.Scratch) }}

// appendStored appends src as one zstd frame of stored blocks, which adds a checksum to
// the unchanged data.
func appendStored(dst, src []byte) []byte { return appendLiterals(dst, src, nil) }

// appendHuffman appends src as one zstd frame of literals. It codes each block with
// Huffman codes if that makes the block smaller. The frame has at most storedSize bytes.
func appendHuffman(dst, src []byte) []byte {
	s := huffCoders.Get().(*huff0.Scratch)
	defer huffCoders.Put(s)
	// A table takes about a hundred bytes of a block. Coding with the table of the block
	// before saves less than it loses.
	s.Reuse = huff0.ReusePolicyNone
	return appendLiterals(dst, src, s)
}

// appendLiterals appends src as one zstd frame whose blocks have literals only, no
// sequences, with content size and checksum (RFC 8878 section 3.1.1). If s is nil, all
// blocks are stored.
func appendLiterals(dst, src []byte, s *huff0.Scratch) []byte {
	dst = appendFrameHeader(dst, len(src))
	var hash xxhash.Digest
	hash.Reset()
	for rest := src; ; {
		block := rest[:min(len(rest), zstdBlockSize)]
		rest = rest[len(block):]
		_, _ = hash.Write(block) // now, while it is in the cache
		dst = appendBlock(dst, block, len(rest) == 0, s)
		if len(rest) == 0 {
			break
		}
	}
	return binary.LittleEndian.AppendUint32(dst, uint32(hash.Sum64()))
}

// storedSize returns the length of the frame that appendStored makes of n bytes.
func storedSize(n int) int {
	header := appendFrameHeader(make([]byte, 0, maxFrameHeader), n)
	blocks := max(1, (n-1)/zstdBlockSize+1)
	return len(header) + 3*blocks + n + 4
}

// maxFrameHeader is the largest length of a frame header without a dictionary.
const maxFrameHeader = 14

// appendFrameHeader appends the header of a frame with a checksum and n bytes of content.
// If the content is longer than one block, the window has the size of one block and not
// of the content, so that decoders need no memory in proportion to the content.
func appendFrameHeader(dst []byte, n int) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, zstdMagic)
	const checksum, single, window = 0x04, 0x20, 7 << 3 // 2^(10+7) bytes
	switch {
	case n < 256:
		return append(dst, single|checksum, byte(n))
	case n < 256+1<<16:
		dst = append(dst, 1<<6|single|checksum)
		return binary.LittleEndian.AppendUint16(dst, uint16(n-256))
	case n <= zstdBlockSize:
		dst = append(dst, 2<<6|single|checksum)
		return binary.LittleEndian.AppendUint32(dst, uint32(n))
	}
	dst = append(dst, 3<<6|checksum, window)
	return binary.LittleEndian.AppendUint64(dst, uint64(n))
}

// appendBlock appends one block of a frame of literals. A block of a single value is
// repeated. Other blocks are Huffman-coded if s is not nil and that makes them smaller,
// and stored otherwise.
func appendBlock(dst, block []byte, last bool, s *huff0.Scratch) []byte {
	if s != nil && len(block) >= minCoded {
		if bytes.Equal(block[1:], block[:len(block)-1]) {
			return append(appendBlockHeader(dst, blockRLE, len(block), last), block[0])
		}
		if coded := huffCode(block, s); coded != nil {
			if n := literalsHeaderSize(len(block)) + len(coded) + 1; n < len(block) {
				dst = appendBlockHeader(dst, blockCompressed, n, last)
				dst = appendLiteralsHeader(dst, len(block), len(coded))
				dst = append(dst, coded...)
				return append(dst, 0) // no sequences
			}
		}
	}
	return append(appendBlockHeader(dst, blockRaw, len(block), last), block...)
}

// minCoded is the size below which a block has no room for a table.
const minCoded = 32

// huffCode returns the Huffman-coded block, table first, in memory of s. It returns nil
// if the coded block is not smaller. The block has four streams, which decode faster than
// one, unless its header has the short form, which means one stream.
func huffCode(block []byte, s *huff0.Scratch) []byte {
	compress := huff0.Compress4X
	if literalsHeaderSize(len(block)) == 3 {
		compress = huff0.Compress1X
	}
	coded, _, err := compress(block, s)
	if err != nil {
		return nil
	}
	return coded
}

func appendBlockHeader(dst []byte, kind, size int, last bool) []byte {
	head := uint32(size)<<3 | uint32(kind)<<1
	if last {
		head |= 1
	}
	return append(dst, byte(head), byte(head>>8), byte(head>>16))
}

// appendLiteralsHeader appends the header of Huffman-coded literals with their table. The
// literals decode to size bytes. See RFC 8878 section 3.1.1.3.1.1.
func appendLiteralsHeader(dst []byte, size, coded int) []byte {
	n := literalsHeaderSize(size)
	format := [6]int{3: 0, 4: 2, 5: 3}[n]
	bits := 4*n - 2 // width of each of the two sizes, after 4 bits
	head := literalsCoded | format<<2 | size<<4 | coded<<(4+bits)
	for range n {
		dst = append(dst, byte(head))
		head >>= 8
	}
	return dst
}

// literalsHeaderSize returns the length of the header of size literals that are coded in
// fewer bytes.
func literalsHeaderSize(size int) int {
	switch {
	case size < 1<<10:
		return 3
	case size < 1<<14:
		return 4
	}
	return 5
}
