package zarr

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

func TestChoose(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	const n = 64 << 10
	small := make([]byte, n) // int32 below 100
	for i := 0; i < n; i += 4 {
		small[i] = byte(r.IntN(100))
	}
	none := Compression{}
	for _, c := range []struct {
		name   string
		sample []byte
		want   Compression
	}{
		{"nothing", nil, none},
		{"float32 weights", weights(array.Float32, n/4), none},
		{"bfloat16 weights", weights(array.BFloat16, n/2), none},
		{"noise", elements(r, array.Uint8, n), none},
		{"zeros", make([]byte, n), Zstd(1)},
		{"mostly zeros", append(make([]byte, n), weights(array.Float32, n/8)...), Zstd(1)},
		{"small integers", small, Zstd(1)},
		{"bools", elements(r, array.Bool, n), Zstd(1)},
		{"a few elements", []byte{1, 0, 2, 0}, none},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Auto().Choose(c.sample); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
			for _, set := range []Compression{none, Zstd(3), Huffman()} {
				if got := set.Choose(c.sample); got != set {
					t.Errorf("%v became %v", set, got)
				}
			}
		})
	}
}

func TestCompression(t *testing.T) {
	for want, c := range map[string]Compression{
		"none": {}, "zstd(-7)": Zstd(-7), "huffman": Huffman(), "auto": Auto(),
	} {
		if c.String() != want {
			t.Errorf("%v, want %s", c, want)
		}
	}
	for _, c := range []Compression{Auto(), Zstd(23), Zstd(minZstdLevel - 1)} {
		if _, err := New(Options{DType: array.Int8, Compression: c}); !errors.Is(err, fault.ErrUsage) {
			t.Errorf("%v: %v", c, err)
		}
	}
	// To readers, Huffman is zstd.
	for _, format := range []int{2, 3} {
		o := Options{Format: format, Shape: []int{3}, DType: array.Float32, Compression: Huffman()}
		huffman, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		o.Compression = Zstd(1)
		zstd, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		if string(huffman.Document()) != string(zstd.Document()) || huffman.Codecs() != zstd.Codecs() {
			t.Errorf("%s\n%s", huffman.Document(), zstd.Document())
		}
	}
}

// The library's frames of weights are as small as those of the C library.
func TestZstdRatio(t *testing.T) {
	for d, want := range map[array.DType]float64{array.BFloat16: 0.79, array.Float32: 0.93} {
		data := weights(d, 1<<20/d.Size())
		for _, level := range []int{1, 3, 6} {
			enc, err := appendZstd(nil, data, level)
			if ratio := float64(len(enc)) / float64(len(data)); err != nil || ratio > want {
				t.Errorf("%v at level %d: ratio %.4f, %v", d, level, ratio, err)
			}
		}
	}
}

// Noise gets no smaller, and must still fit in the bound.
func TestBoundOfNoise(t *testing.T) {
	for _, n := range []int{1, 255, 256, 64 << 10, 64<<10 + 1, 128 << 10, 128<<10 + 1, 4<<20 - 1, 4 << 20, 9 << 20} {
		chunk := make([]byte, n)
		rand.NewChaCha8([32]byte{byte(n)}).Read(chunk)
		for _, c := range []Compression{{}, Huffman(), Zstd(-5), Zstd(1), Zstd(3), Zstd(7), Zstd(19)} {
			if n > 1<<20 && c.level > 3 {
				continue // slow
			}
			m, err := New(Options{Shape: []int{n}, DType: array.Uint8, Compression: c})
			if err != nil {
				t.Fatal(err)
			}
			enc, err := m.AppendChunk(nil, chunk)
			if err != nil || len(enc) > m.EncodedBound() {
				t.Errorf("%v: %d bytes of noise took %d, the bound is %d: %v", c, n, len(enc), m.EncodedBound(), err)
			}
		}
	}
}
