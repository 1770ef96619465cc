package zarr

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	_ "github.com/go-orbax/orbax/internal/testenv/fewchecks"
)

func allDTypes() []array.DType {
	var all []array.DType
	for d := array.Bool; d <= array.Complex128; d++ {
		all = append(all, d)
	}
	return all
}

// elements returns n random elements, as package array keeps them.
func elements(r *rand.Rand, d array.DType, n int) []byte {
	b := make([]byte, n*d.Size())
	for i := range b {
		b[i] = byte(r.Uint32()) >> (r.Uint32() % 8)
		if d == array.Bool {
			b[i] &= 1
		}
	}
	array.Canonicalize(d, b)
	return b
}

var compressions = []Compression{{}, Zstd(1), Zstd(3), Zstd(6), Zstd(19), Zstd(-7), Huffman()}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := rapid.SampledFrom(allDTypes()).Draw(rt, "dtype")
		shape := rapid.SliceOfN(rapid.IntRange(0, 6), 0, 5).Draw(rt, "shape")
		chunk := make([]int, len(shape))
		for i := range chunk {
			chunk[i] = rapid.IntRange(1, 8).Draw(rt, "chunk")
		}
		compression := rapid.SampledFrom(compressions).Draw(rt, "compression")
		m, err := New(Options{
			Format:      rapid.IntRange(2, 3).Draw(rt, "format"),
			Shape:       shape,
			ChunkShape:  chunk,
			DType:       d,
			Compression: compression,
		})
		if err != nil {
			rt.Fatal(err)
		}
		n, _ := array.NumElements(shape)
		data := elements(rand.New(rand.NewPCG(uint64(n), 1)), d, n)
		chunks := writeAllChunks(t, m, data)
		bound, exact := m.EncodedBound(), compression == Compression{}
		for key, enc := range chunks {
			if len(enc) > bound || exact && len(enc) != bound {
				rt.Fatalf("chunk %s of %d bytes, bound %d %v", key, len(enc), bound, exact)
			}
		}
		parsed, err := Parse(m.Format, m.Document())
		if err != nil {
			rt.Fatal(err)
		}
		for _, m := range []*Metadata{m, parsed} {
			if got := readAllChunks(t, m, chunks); !bytes.Equal(got, data) {
				rt.Fatalf("%s\ngot  %x\nwant %x", m.Document(), got, data)
			}
		}
	})
}

// A chunk with one bit flipped is refused, or, where the bit means nothing (the
// window size of a zstd frame, for example), decodes to the same elements.
func TestFlippedBits(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, format := range []int{2, 3} {
		for _, compression := range compressions {
			for _, n := range []int{1, 150, 400} {
				m, err := New(Options{Format: format, Shape: []int{n}, DType: array.Int16, Compression: compression})
				if err != nil {
					t.Fatal(err)
				}
				chunk := elements(r, array.Int16, n)
				enc, err := m.AppendChunk(nil, chunk)
				if err != nil {
					t.Fatal(err)
				}
				out := make([]byte, len(chunk))
				harmless := 0
				for bit := range 8 * len(enc) {
					enc[bit/8] ^= 1 << (bit % 8)
					if err := m.DecodeChunk([]int{0}, out, enc); err == nil {
						harmless++
						if !bytes.Equal(out, chunk) {
							t.Fatalf("zarr%d %v: bit %d of %d is not noticed", format, compression, bit, 8*len(enc))
						}
					} else if !errors.Is(err, fault.ErrCorrupt) {
						t.Fatalf("bit %d: %v", bit, err)
					}
					enc[bit/8] ^= 1 << (bit % 8)
				}
				// A zstd frame has an unused bit in its header, and a block of
				// one byte is the same stored or repeated.
				if compression == (Compression{}) && harmless > (3-format)*2 {
					t.Errorf("zarr%d: %d bits mean nothing", format, harmless)
				}
			}
		}
	}
}

// Every length that is not the right one is refused.
func TestWrongLengths(t *testing.T) {
	for _, g := range loadGolden(t) {
		if len(g.Want) == 0 {
			continue
		}
		m, err := Parse(g.Format, []byte(g.Document))
		if err != nil {
			t.Fatal(err)
		}
		dst := make([]byte, m.ChunkBytes())
		for index := range m.Chunks() {
			enc := g.Chunks[m.Key(index)]
			for n := range len(enc) {
				if err := m.DecodeChunk(index, dst, enc[:n]); !errors.Is(err, fault.ErrCorrupt) {
					t.Fatalf("%s: first %d of %d bytes: %v", g.Name, n, len(enc), err)
				}
			}
			if err := m.DecodeChunk(index, dst, append(slices.Clone(enc), 0)); err == nil && (m.chain.shard == nil || !m.chain.shard.start) {
				t.Fatalf("%s: accepts a byte too many", g.Name)
			}
		}
	}
}

func TestStoredFrames(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	decoder, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer decoder.Close()
	for _, n := range []int{0, 1, 255, 256, 257, 65535, 65791, 65792, 131071, 131072, 131073, 262144, 300000} {
		data := elements(r, array.Uint8, n)
		enc := appendStored(nil, data)
		if len(enc) != storedSize(n) {
			t.Errorf("%d bytes make %d, want %d", n, len(enc), storedSize(n))
		}
		if got, err := decoder.DecodeAll(enc, nil); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: library: %v", n, err)
		}
		f, err := parseZstd(enc)
		if err != nil || !f.literalsOnly || !f.hasSize || !f.checksum || f.contentSize != uint64(n) {
			t.Errorf("%d bytes: %+v, %v", n, f, err)
		}
		if got, err := (zstdFilter{}).decode(make([]byte, n), enc); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TensorStore stops after the first frame, so anything around it is damage.
func TestZstdOneFrame(t *testing.T) {
	frame, err := appendZstd(nil, make([]byte, 100), 3)
	if err != nil {
		t.Fatal(err)
	}
	skippable := []byte{0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 7}
	for _, enc := range [][]byte{
		append(slices.Clone(frame), frame...),
		append(slices.Clone(skippable), frame...),
		append(slices.Clone(frame), skippable...),
		skippable,
		nil,
	} {
		if _, err := (zstdFilter{}).decode(make([]byte, 200), enc); !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("%x: %v", enc, err)
		}
	}
	if _, err := (zstdFilter{}).decode(make([]byte, 99), frame); !errors.Is(err, fault.ErrCorrupt) {
		t.Errorf("too long: %v", err)
	}
}

func TestUnusedBits(t *testing.T) {
	for d, want := range map[array.DType][2]byte{
		array.Int2: {0x03, 0xff}, array.Int4: {0x0f, 0xff}, array.Float4E2M1FN: {0x0f, 0x0f},
	} {
		m, err := New(Options{Shape: []int{1}, DType: d})
		if err != nil {
			t.Fatal(err)
		}
		chunk := []byte{0xff}
		enc, err := m.AppendChunk(nil, chunk)
		if err != nil || enc[0] != want[0] || chunk[0] != 0xff {
			t.Errorf("%v: %x, %v", d, enc, err)
		}
		if err := m.DecodeChunk([]int{0}, chunk, enc); err != nil || chunk[0] != want[1] {
			t.Errorf("%v: %x, %v", d, chunk, err)
		}
	}
	m, err := Parse(2, with(t, base2, "dtype", `"|b1"`))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.DecodeChunk([]int{0, 0}, make([]byte, 6), []byte{0, 1, 2, 0, 0, 0}); !errors.Is(err, fault.ErrCorrupt) {
		t.Errorf("bool of 2: %v", err)
	}
}

func TestShards(t *testing.T) {
	const le = `{"name":"bytes","configuration":{"endian":"little"}}`
	m, err := Parse(3, with(t, string(with(t, base3, "shape", "[3,3]")), "codecs",
		`[{"name":"sharding_indexed","configuration":{"chunk_shape":[1,3],"codecs":[`+le+`],"index_codecs":[`+le+`]}}]`))
	if err != nil {
		t.Fatal(err)
	}
	const absent = 1<<64 - 1
	data := []byte("abcdefghijklABCDEFGHIJKL")
	shard := func(data []byte, index ...uint64) []byte {
		enc := slices.Clone(data)
		for _, x := range index {
			enc = binary.LittleEndian.AppendUint64(enc, x)
		}
		return enc
	}
	for _, c := range []struct {
		name  string
		chunk []int
		enc   []byte
		want  string // "" is an error
	}{
		{"plain", []int{0, 0}, shard(data, 0, 12, 12, 12), string(data)},
		{"swapped", []int{0, 0}, shard(data, 12, 12, 0, 12), "ABCDEFGHIJKLabcdefghijkl"},
		{"gap", []int{0, 0}, shard(append(data, "xx"...), 0, 12, 12, 12), string(data)},
		{"shared", []int{0, 0}, shard(data[:12], 0, 12, 0, 12), "abcdefghijklabcdefghijkl"},
		{"absent", []int{0, 0}, shard(data[:12], 0, 12, absent, absent), ""},
		{"half absent", []int{0, 0}, shard(data[:12], 0, 12, absent, 0), ""},
		{"absent beyond the edge", []int{1, 0}, shard(data[:12], 0, 12, absent, absent), "abcdefghijkl\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"absent at the edge", []int{1, 0}, shard(data[:12], absent, absent, 0, 12), ""},
		{"beyond the end", []int{0, 0}, shard(data, 0, 12, 50, 12), ""},
		{"overflow", []int{0, 0}, shard(data, 0, 12, absent-3, 12), ""},
		{"short", []int{0, 0}, shard(data, 0, 12, 12, 11), ""},
		{"no index", []int{0, 0}, data[:24], ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dst := make([]byte, m.ChunkBytes())
			err := m.DecodeChunk(c.chunk, dst, c.enc)
			switch {
			case c.want != "" && (err != nil || string(dst) != c.want):
				t.Errorf("%q, %v", dst, err)
			case c.want == "" && !errors.Is(err, fault.ErrCorrupt):
				t.Error(err)
			case c.want == "" && errors.Is(err, fs.ErrNotExist) != (c.name == "absent" || c.name == "absent at the edge"):
				t.Error(err)
			}
			filled, filling := slices.Clone(dst), m.Filling()
			if e := filling.DecodeChunk(c.chunk, filled, c.enc); (e == nil) != (err == nil || errors.Is(err, fs.ErrNotExist)) {
				t.Errorf("filled: %v", e)
			} else if e == nil && err == nil && !bytes.Equal(filled, dst) {
				t.Errorf("filled: %q", filled)
			}
		})
	}
}

func TestArguments(t *testing.T) {
	m, err := New(Options{Shape: []int{4}, DType: array.Int8})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.AppendChunk(nil, make([]byte, 3)); !errors.Is(err, fault.ErrShape) {
		t.Error(err)
	}
	if err := m.DecodeChunk([]int{0}, make([]byte, 3), make([]byte, 8)); !errors.Is(err, fault.ErrShape) {
		t.Error(err)
	}
	for _, index := range [][]int{{}, {1}, {-1}, {0, 0}} {
		if err := m.DecodeChunk(index, make([]byte, 4), make([]byte, 8)); !errors.Is(err, fault.ErrShape) {
			t.Error(index, err)
		}
	}
	m, err = Parse(2, with(t, base2, "order", `"F"`))
	if err != nil {
		t.Fatal(err)
	}
	if n := m.EncodedBound(); n != 0 {
		t.Error(n)
	}
	if _, err := m.AppendChunk(nil, make([]byte, m.ChunkBytes())); !errors.Is(err, fault.ErrUnsupported) {
		t.Error(err)
	}
}

func TestUnshuffleBits(t *testing.T) {
	src := make([]byte, 32)
	for i := range src {
		src[i] = byte(i * 37)
	}
	dst := make([]byte, 32)
	unshuffleBits(dst, src, 2) // 16 elements, rows of 2 bytes
	for bit := range 16 {
		row := binary.LittleEndian.Uint16(src[2*bit:])
		var want uint16
		for i := range 16 {
			want |= binary.LittleEndian.Uint16(dst[2*i:]) >> bit & 1 << i
		}
		if row != want {
			t.Errorf("row %d is %016b, want %016b", bit, bits.Reverse16(row), bits.Reverse16(want))
		}
	}
}
