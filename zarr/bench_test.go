package zarr

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/go-orbax/orbax/array"
)

// weights returns n elements of dtype float32 or bfloat16 with the distribution
// of weights.
func weights(d array.DType, n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 0, n*d.Size())
	for range n {
		bits := math.Float32bits(float32(r.NormFloat64() * 0.02))
		if d == array.BFloat16 {
			b = binary.LittleEndian.AppendUint16(b, uint16(bits>>16))
		} else {
			b = binary.LittleEndian.AppendUint32(b, bits)
		}
	}
	return b
}

// BenchmarkChunk encodes and decodes weights in every way, and by the zstd
// library alone, with its checksum, beside it.
func BenchmarkChunk(b *testing.B) {
	for _, d := range []array.DType{array.BFloat16, array.Float32} {
		n := 8 << 20 / d.Size()
		chunk := weights(d, n)
		out := make([]byte, len(chunk))
		for _, format := range []int{2, 3} {
			for _, compression := range []Compression{{}, Zstd(1), Zstd(3), Huffman()} {
				m, err := New(Options{Format: format, Shape: []int{n}, DType: d, Compression: compression})
				if err != nil {
					b.Fatal(err)
				}
				name := fmt.Sprintf("%v/zarr%d/%v", d, format, compression)
				enc := make([]byte, 0, m.EncodedBound())
				b.Run("encode/"+name, func(b *testing.B) {
					b.SetBytes(int64(len(chunk)))
					b.ReportAllocs()
					for b.Loop() {
						if enc, err = m.AppendChunk(enc[:0], chunk); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(len(enc))/float64(len(chunk)), "ratio")
				})
				b.Run("decode/"+name, func(b *testing.B) {
					b.SetBytes(int64(len(chunk)))
					b.ReportAllocs()
					for b.Loop() {
						if err := m.DecodeChunk([]int{0}, out, enc); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithAllLitEntropyCompression(true))
		if err != nil {
			b.Fatal(err)
		}
		r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			b.Fatal(err)
		}
		var enc []byte
		b.Run(fmt.Sprintf("encode/%v/library", d), func(b *testing.B) {
			b.SetBytes(int64(len(chunk)))
			for b.Loop() {
				enc = e.EncodeAll(chunk, enc[:0])
			}
			b.ReportMetric(float64(len(enc))/float64(len(chunk)), "ratio")
		})
		b.Run(fmt.Sprintf("decode/%v/library", d), func(b *testing.B) {
			b.SetBytes(int64(len(chunk)))
			for b.Loop() {
				if _, err := r.DecodeAll(enc, out[:0]); err != nil {
					b.Fatal(err)
				}
			}
		})
		r.Close()
	}
}
