package zarr

import (
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
)

// Compression says how [Metadata.AppendChunk] encodes chunks. The zero value
// leaves the elements as they are and adds a checksum. The others write zstd
// frames with a checksum, which every zstd decoder reads. Values can be compared.
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

// Zstd compresses with zstd. The level is the zstd library's, from -131072 to
// 22, and goes into the metadata as it is. The encoder has four speeds, picked
// by level: below 3, 3 to 5, 6 to 9, and 10 and above. Chunks of less than 256
// bytes are encoded as by [Huffman].
func Zstd(level int) Compression { return Compression{methodZstd, level} }

// Huffman codes bytes by how frequent they are, and looks for no repetitions,
// of which floating-point weights have none: it takes less time than [Zstd] to
// shrink bfloat16 weights to the same 0.78 of their size and float32 weights to
// 0.93. Blocks of 128 KiB that do not get smaller are stored. The metadata says
// zstd, level 1.
func Huffman() Compression { return Compression{method: methodHuffman} }

// Auto leaves the choice between none and zstd to [Compression.Choose], once
// for each array. [New] wants to know what was chosen, and refuses Auto itself.
func Auto() Compression { return Compression{method: methodAuto} }

// autoRatio is the ratio from which on Auto compresses. Weights, at 0.75 and
// more, would be read several times slower for little.
const autoRatio = 0.7

// Choose returns c itself, or for [Auto] what suits an array of which sample is a
// part: Zstd(1) if it makes at most 0.7 of the sample, and none otherwise. That
// leaves weights as they are; zeros, repetitions, masks and small integers are
// compressed. The sample should be some tens of KiB from several places of the
// array, in pieces of some KiB, and takes about 2 µs a KiB. Of an empty one
// nothing is known, and it is none.
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

// String returns "none", "huffman", "auto" or, for example, "zstd(3)".
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

// check returns an error if no metadata can say c.
func (c Compression) check() error {
	switch {
	case c.method == methodAuto:
		return fmt.Errorf("%w: compression %v, for which Choose has to choose first", fault.ErrUsage, c)
	case c.method == methodZstd && (c.level < minZstdLevel || c.level > maxZstdLevel):
		return fmt.Errorf("%w: zstd level %d is outside %d to %d", fault.ErrUsage, c.level, minZstdLevel, maxZstdLevel)
	}
	return nil
}

// frames returns how zstd frames are written, and the level that the metadata
// says.
func (c Compression) frames() (encoding, int) {
	switch c.method {
	case methodZstd:
		return encodeZstd, c.level
	case methodHuffman:
		return encodeHuffman, orbaxLevel
	}
	return encodeStored, orbaxLevel
}

// orbaxLevel is the level that Orbax writes. Decoders do not look at it.
const orbaxLevel = 1
