package zarr

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/huff0"
)

// huffDecoders holds scratch memory for decodeLiterals, of type *huff0.Scratch.
var huffDecoders = sync.Pool{New: func() any { return new(huff0.Scratch) }}

// Kinds of literals. The first two are kinds of blocks as well.
const (
	literalsRaw      = blockRaw
	literalsRLE      = blockRLE
	literalsCoded    = 2 // a Huffman table and the bytes that it codes
	literalsTreeless = 3 // coded with the table of an earlier block
)

// literals is the first section of a compressed block, RFC 8878 section
// 3.1.1.3.1.
type literals struct {
	kind    int
	streams int // number of Huffman-coded streams, 1 or 4
	size    int // decoded size
	data    []byte
}

// parseLiterals parses a compressed block that has only literals and no sequences. ok is
// false for other blocks, and for damaged ones.
func parseLiterals(block []byte) (l literals, ok bool) {
	if len(block) == 0 {
		return l, false
	}
	l.kind = int(block[0] & 3)
	format := int(block[0] >> 2 & 3)
	coded := l.kind >= literalsCoded
	header := [4]int{1, 2, 1, 3}[format]
	if coded {
		header = [4]int{3, 3, 4, 5}[format]
	}
	if len(block) < header {
		return l, false
	}
	var word [8]byte
	copy(word[:], block[:header])
	head := binary.LittleEndian.Uint64(word[:])
	var stored int
	switch {
	case coded:
		bits := 4*header - 2 // width of each of the two sizes, after 4 bits
		mask := 1<<bits - 1
		l.size = int(head>>4) & mask
		stored = int(head>>(4+bits)) & mask
		l.streams = 4
		if format == 0 {
			l.streams = 1
		}
	case header == 1:
		l.size = int(head >> 3)
		stored = l.size
	default:
		l.size = int(head >> 4)
		stored = l.size
	}
	if l.kind == literalsRLE {
		stored = 1
	}
	// The number of sequences follows.
	if len(block) != header+stored+1 || block[header+stored] != 0 {
		return l, false
	}
	l.data = block[header : header+stored]
	return l, true
}

// decodeLiterals decodes a frame that is literalsOnly. It decodes each block to its place
// and adds it to the checksum while it is in the cache.
func (f zstdFrame) decodeLiterals(buf, enc []byte) ([]byte, error) {
	limit := int(min(f.window, zstdBlockSize)) // of a block
	var huff huffDecoder
	defer huff.release()
	var hash xxhash.Digest
	hash.Reset()
	n := 0
	for at, last := f.blocks, false; !last; {
		head := zstdBlockHeader(enc[at:])
		data := enc[at+3:][:head.dataSize()]
		at += 3 + len(data)
		last = head.last
		l := literals{kind: head.kind, size: head.size, data: data}
		if head.kind == blockCompressed {
			l, _ = parseLiterals(data) // parseZstd has checked that the block is nothing else
		}
		if size := max(l.size, len(data)); size > limit || l.size > len(buf)-n {
			return nil, badFrame("block of %d bytes after %d, at most %d expected in blocks of %d", size, n, len(buf), limit)
		}
		block := buf[n:][:l.size]
		if err := huff.decode(block, l); err != nil {
			return nil, badFrame("block at %d: %w", n, err)
		}
		if f.checksum {
			_, _ = hash.Write(block)
		}
		n += len(block)
	}
	if f.hasSize && uint64(n) != f.contentSize {
		return nil, badFrame("holds %d bytes and claims %d", n, f.contentSize)
	}
	if f.checksum {
		want := binary.LittleEndian.Uint32(enc[len(enc)-4:])
		if got := uint32(hash.Sum64()); got != want {
			return nil, badFrame("checksum is %08x, stored %08x", got, want)
		}
	}
	return buf[:n], nil
}

// huffDecoder decodes the literals of one frame. The zero value has no table yet.
type huffDecoder struct {
	scratch *huff0.Scratch // has the last table that was read
}

// decode decodes literals to dst, which has their size.
func (h *huffDecoder) decode(dst []byte, l literals) error {
	data := l.data
	switch l.kind {
	case literalsRaw:
		copy(dst, data)
		return nil
	case literalsRLE:
		fillWith(dst, data)
		return nil
	case literalsCoded:
		if h.scratch == nil {
			h.scratch = huffDecoders.Get().(*huff0.Scratch)
		}
		var err error
		if _, data, err = huff0.ReadTable(data, h.scratch); err != nil {
			return err
		}
	}
	if h.scratch == nil {
		return errors.New("literals that reuse a table, and none before them")
	}
	// The capacity is the number of bytes that the decoder may, and must, decode.
	out := dst[:0:len(dst)]
	var err error
	if l.streams == 1 {
		out, err = h.scratch.Decoder().Decompress1X(out, data)
	} else {
		out, err = h.scratch.Decoder().Decompress4X(out, data)
	}
	if err != nil {
		return err
	}
	if len(out) != len(dst) {
		return fmt.Errorf("%d literals, want %d", len(out), len(dst))
	}
	return nil
}

// release returns the scratch memory to the pool.
func (h *huffDecoder) release() {
	if h.scratch != nil {
		huffDecoders.Put(h.scratch)
	}
}
