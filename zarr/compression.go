package zarr

import (
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
)

// Compression says how [Metadata.AppendChunk] encodes chunks. The zero value leaves the
// elements as they are and adds a checksum. The other values write zstd frames with a
// checksum, which every zstd decoder reads. Values can be compared with ==.
type Compression struct {
	method method
	level  int
}

type method int

const (
	methodNone method = iota
	methodZstd
	methodHuffman
	methodAuto
)

// Zstd returns the compression with zstd at the given level. The level is that of the
// zstd library, from -131072 to 22, and goes into the metadata unchanged. The encoder has
// four speeds, which the level selects: below 3, 3 to 5, 6 to 9, and 10 and above. Chunks
// of less than 256 bytes are encoded as by [Huffman].
func Zstd(level int) Compression { return Compression{methodZstd, level} }

// Huffman returns the compression that codes bytes by their frequency. It does not look
// for repetitions, which floating-point weights do not have. It is faster than [Zstd] and
// shrinks bfloat16 weights to the same 0.78 of their size and float32 weights to 0.93. It
// stores blocks of 128 KiB that it cannot make smaller. The metadata says zstd, level 1.
func Huffman() Compression { return Compression{method: methodHuffman} }

// Auto returns the compression that leaves the choice between none and zstd to
// [Compression.Choose], once for each array. [New] needs the choice, and refuses Auto
// itself.
func Auto() Compression { return Compression{method: methodAuto} }

// autoRatio is the highest ratio at which Auto compresses. Weights, at 0.75 and more,
// would be read several times slower for a small gain.
const autoRatio = 0.7

// Choose returns c itself, or for [Auto] the compression that suits an array, judged by a
// sample of it. That is Zstd(1) if it shrinks the sample to at most 0.7 of its size, and
// none otherwise. Weights are therefore not compressed; zeros, repetitions, masks and
// small integers are.
//
// The sample should be some tens of KiB from several places of the array, in pieces of
// some KiB. Choose takes about 2 µs for each KiB. For an empty sample it returns none.
func (c Compression) Choose(sample []byte) Compression {
	if c.method != methodAuto {
		return c
	}
	enc, err := appendZstd(nil, sample, 1)
	if err != nil || float64(len(enc)) > autoRatio*float64(len(sample)) {
		return Compression{}
	}
	return Zstd(1)
}

// String returns "none", "huffman", "auto" or the level too, as in "zstd(3)".
func (c Compression) String() string {
	switch c.method {
	case methodZstd:
		return fmt.Sprintf("zstd(%d)", c.level)
	case methodHuffman:
		return "huffman"
	case methodAuto:
		return "auto"
	}
	return "none"
}

// check returns an error if metadata cannot express c.
func (c Compression) check() error {
	switch {
	case c.method == methodAuto:
		return fmt.Errorf("%w: compression %v, for which Choose has to choose first", fault.ErrUsage, c)
	case c.method == methodZstd && (c.level < minZstdLevel || c.level > maxZstdLevel):
		return fmt.Errorf("%w: zstd level %d is outside %d to %d", fault.ErrUsage, c.level, minZstdLevel, maxZstdLevel)
	}
	return nil
}

// frames returns the way in which zstd frames are written, and the level for the
// metadata.
func (c Compression) frames() (encoding, int) {
	switch c.method {
	case methodZstd:
		return encodeZstd, c.level
	case methodHuffman:
		return encodeHuffman, orbaxLevel
	}
	return encodeStored, orbaxLevel
}

// orbaxLevel is the level that Orbax writes. Decoders ignore it.
const orbaxLevel = 1
