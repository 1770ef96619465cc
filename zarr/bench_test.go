package zarr

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/go-orbax/orbax/array"
)

func BenchmarkChunk(b *testing.B) {
	const n = 2 << 20
	for _, format := range []int{2, 3} {
		for _, compression := range []Compression{{}, Zstd(1), Zstd(3)} {
			m, err := New(Options{Format: format, Shape: []int{n}, DType: array.Float32, Compression: compression})
			if err != nil {
				b.Fatal(err)
			}
			chunk := elements(rand.New(rand.NewPCG(1, 1)), array.Float32, n)
			enc := make([]byte, 0, m.EncodedBound())
			b.Run(fmt.Sprintf("encode/zarr%d/%v", format, compression), func(b *testing.B) {
				b.SetBytes(int64(len(chunk)))
				b.ReportAllocs()
				for b.Loop() {
					if enc, err = m.AppendChunk(enc[:0], chunk); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(len(enc))/float64(len(chunk)), "ratio")
			})
			b.Run(fmt.Sprintf("decode/zarr%d/%v", format, compression), func(b *testing.B) {
				b.SetBytes(int64(len(chunk)))
				b.ReportAllocs()
				for b.Loop() {
					if err := m.DecodeChunk([]int{0}, chunk, enc); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
