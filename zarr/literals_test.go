package zarr

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// goldenFrame is a zstd frame that the C library wrote; see
// testdata/gen_literals.py.
type goldenFrame struct {
	Name   string
	Frame  []byte
	SHA256 string
}

func loadFrames(t testing.TB) (frames []goldenFrame) {
	t.Helper()
	loadJSON(t, "literals.json.gz", &frames)
	return frames
}

const maxTestFrame = 300_001 // content of the largest golden frame

func newLibrary(t testing.TB) *zstd.Decoder {
	t.Helper()
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func TestGoldenFrames(t *testing.T) {
	library := newLibrary(t)
	for _, g := range loadFrames(t) {
		f, err := parseZstd(g.Frame)
		if err != nil || !f.literalsOnly {
			t.Errorf("%s: %+v, %v", g.Name, f, err)
			continue
		}
		got, err := f.decodeLiterals(make([]byte, maxTestFrame), g.Frame)
		if err != nil {
			t.Errorf("%s: %v", g.Name, err)
			continue
		}
		if sum := sha256.Sum256(got); hex.EncodeToString(sum[:]) != g.SHA256 {
			t.Errorf("%s: wrong data", g.Name)
		}
		for n := range min(len(g.Frame), 30) {
			if _, err := parseZstd(g.Frame[:n]); !errors.Is(err, fault.ErrCorrupt) {
				t.Errorf("%s: first %d bytes: %v", g.Name, n, err)
			}
		}
		// A buffer that is too short is an error; none is written past it.
		if n := len(got); n > 0 {
			buf := make([]byte, n)
			if _, err := f.decodeLiterals(buf[:n-1], g.Frame); !errors.Is(err, fault.ErrCorrupt) || buf[n-1] != 0 {
				t.Errorf("%s: one byte short: %v", g.Name, err)
			}
		}
		sameAsLibrary(t, library, g.Frame)
	}
}

// sameAsLibrary decodes a frame as the library does, if it has no sequences.
func sameAsLibrary(t rapid.TB, library *zstd.Decoder, enc []byte) {
	t.Helper()
	f, err := parseZstd(enc)
	if err != nil || !f.literalsOnly || f.contentSize > maxTestFrame {
		return
	}
	buf := make([]byte, maxTestFrame)
	got, err := f.decodeLiterals(buf, enc)
	if err != nil && !errors.Is(err, fault.ErrCorrupt) {
		t.Fatal(err)
	}
	want, libraryErr := library.DecodeAll(enc, make([]byte, 0, maxTestFrame))
	switch {
	case f.window > zstd.MaxWindowSize: // the library refuses it, where there is no need to
	case (err == nil) != (libraryErr == nil):
		t.Fatalf("%v, library: %v\n%x", err, libraryErr, enc)
	case err == nil && !bytes.Equal(got, want):
		t.Fatalf("other bytes than the library's:\n%x", enc)
	}
}

// Damage that no checksum finds is decoded, or found, as by the library.
func TestDamagedFrames(t *testing.T) {
	library := newLibrary(t)
	frames := loadFrames(t)
	for _, n := range []int{40, 700, 5000} {
		frames = append(frames, goldenFrame{Frame: appendHuffman(nil, skewed(rand.New(rand.NewPCG(1, 1)), n))})
	}
	rapid.Check(t, func(rt *rapid.T) {
		g := rapid.SampledFrom(frames).Draw(rt, "frame")
		enc := slices.Clone(g.Frame)
		if len(enc) > 4 && enc[4]&4 != 0 && len(enc) > 8 && rapid.Bool().Draw(rt, "without checksum") {
			enc[4] &^= 4
			enc = enc[:len(enc)-4]
		}
		for range rapid.IntRange(1, 3).Draw(rt, "changes") {
			at := rapid.IntRange(0, min(len(enc)-1, 400)).Draw(rt, "at")
			if rapid.Bool().Draw(rt, "from the end") {
				at = len(enc) - 1 - at
			}
			enc[at] = rapid.Byte().Draw(rt, "byte")
		}
		sameAsLibrary(rt, library, enc)
	})
}

// The checksum finds every flipped bit of Huffman code that its decoder does not.
func TestFlippedCode(t *testing.T) {
	for _, n := range []int{700, 1500} {
		data := skewed(rand.New(rand.NewPCG(5, 6)), n)
		enc := appendHuffman(nil, data)
		if len(enc) > n*9/10 {
			t.Fatalf("%d bytes make %d", n, len(enc))
		}
		for bit := range 8 * len(enc) {
			enc[bit/8] ^= 1 << (bit % 8)
			got, err := (zstdFilter{}).decode(make([]byte, n), enc)
			if err == nil && !bytes.Equal(got, data) || err != nil && !errors.Is(err, fault.ErrCorrupt) {
				t.Fatalf("bit %d of %d bytes: %v", bit, n, err)
			}
			enc[bit/8] ^= 1 << (bit % 8)
		}
	}
}

// FuzzLiteralsOnly decodes arbitrary frames without sequences as the library does.
func FuzzLiteralsOnly(f *testing.F) {
	for _, g := range loadFrames(f) {
		if len(g.Frame) < 3000 {
			f.Add(g.Frame)
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{0, 40, 700, 1500} {
		f.Add(appendHuffman(nil, skewed(r, n)))
	}
	library := newLibrary(f)
	f.Fuzz(func(t *testing.T, enc []byte) {
		// Most of what can be found is behind the checksum: it is put right.
		if zf, err := parseZstd(enc); err == nil && zf.literalsOnly && zf.checksum && zf.contentSize < maxTestFrame {
			if want, _ := library.DecodeAll(enc, make([]byte, 0, maxTestFrame)); len(want) > 0 {
				enc = slices.Clone(enc)
				binary.LittleEndian.PutUint32(enc[len(enc)-4:], uint32(xxhash.Sum64(want)))
			}
		}
		sameAsLibrary(t, library, enc)
	})
}

// skewed returns bytes of which some are more frequent.
func skewed(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.NormFloat64() * 20)
	}
	return b
}

func TestHuffmanFrames(t *testing.T) {
	library := newLibrary(t)
	r := rand.New(rand.NewPCG(3, 4))
	var mixed []byte
	for _, part := range [][]byte{weights(array.Float32, zstdBlockSize/4), make([]byte, zstdBlockSize), elements(r, array.Uint8, zstdBlockSize), skewed(r, 99)} {
		mixed = append(mixed, part...)
	}
	for _, c := range []struct {
		name  string
		data  []byte
		ratio float64
	}{
		{"bfloat16", weights(array.BFloat16, 200_000), 0.79},
		{"float32", weights(array.Float32, 100_000), 0.94},
		{"float64", elements(r, array.Float64, 50_000), 1},
		{"zeros", make([]byte, 300_000), 0.001},
		{"alternating", bytes.Repeat([]byte{1, 2}, 100_000), 0.13},
		{"all different", identityBytes(256), 1.1},
		{"rare value", append(make([]byte, 100_000), 1), 0.13},
		{"mixed", mixed, 0.8},
	} {
		t.Run(c.name, func(t *testing.T) {
			lengths := []int{len(c.data)}
			for _, n := range []int{0, 1, 2, 31, 32, 33, 255, 256, 1023, 1024, 1025, 16383, 16384, zstdBlockSize - 1, zstdBlockSize, zstdBlockSize + 1} {
				if n < len(c.data) {
					lengths = append(lengths, n)
				}
			}
			for i, n := range lengths {
				data := c.data[:n]
				enc := appendHuffman([]byte("before"), data)[len("before"):]
				if len(enc) > storedSize(n) {
					t.Errorf("%d bytes make %d, at most %d expected", n, len(enc), storedSize(n))
				}
				if ratio := float64(len(enc)) / float64(n); i == 0 && ratio > c.ratio {
					t.Errorf("ratio %.4f, want %.4f", ratio, c.ratio)
				}
				if got, err := library.DecodeAll(enc, make([]byte, 0, n)); err != nil || !bytes.Equal(got, data) {
					t.Errorf("library on %d bytes: %v", n, err)
				}
				f, err := parseZstd(enc)
				if err != nil || !f.literalsOnly || !f.hasSize || !f.checksum || f.contentSize != uint64(n) {
					t.Errorf("%+v, %v", f, err)
				}
				got, err := (zstdFilter{}).decode(make([]byte, n), enc)
				if err != nil || !bytes.Equal(got, data) {
					t.Errorf("%d bytes: %v", n, err)
				}
			}
		})
	}
}

func identityBytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// Literals that no encoder here or in the C library writes, in blocks without
// matches.
func TestLiterals(t *testing.T) {
	library := newLibrary(t)
	for _, c := range []struct {
		block string
		want  string // "-" is an error
	}{
		{"\x18abc\x00", "abc"},         // stored, sizes of 1, 2 and 3 bytes
		{"\x34\x00abc\x00", "abc"},     //
		{"\x3c\x00\x00abc\x00", "abc"}, //
		{"\x19a\x00", "aaa"},           // repeated
		{"\x35\x00a\x00", "aaa"},       //
		{"\x00\x00", ""},               //
		{"\x33\x00\x01abcd\x00", "-"},  // no table to reuse
		{"\x32\x00\x01abcd\x00", "-"},  // no table
		{"\x3d\xff\xffa\x00", "-"},     // more than a block
	} {
		enc := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0, byte(len(c.block)<<3 | 5), 0, 0}
		enc = append(enc, c.block...)
		f, err := parseZstd(enc)
		if err != nil || !f.literalsOnly {
			t.Fatalf("%q: %+v, %v", c.block, f, err)
		}
		got, err := f.decodeLiterals(make([]byte, maxTestFrame), enc)
		if (err != nil) != (c.want == "-") || err == nil && string(got) != c.want {
			t.Errorf("%q: %q, %v", c.block, got, err)
		}
		sameAsLibrary(t, library, enc)
	}
}
