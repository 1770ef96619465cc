package zarr

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// readBox reads a box of an array as a caller that fetches no more than it needs:
// only chunks that overlap the box, of shards their index and only the inner
// chunks that do, of raw chunks one element after the other. What is not stored
// is filled if fill, and otherwise an error that matches fs.ErrNotExist.
func readBox(m *Metadata, chunks map[string][]byte, off, size []int, fill bool) ([]byte, error) {
	n, err := array.NumElements(size)
	if err != nil {
		return nil, err
	}
	b := box{make([]byte, n*m.DType.Size()), off, size, fill}
	for index := range m.Overlapping(off, size) {
		stored, ok := chunks[m.Key(index)]
		if !ok && !fill {
			return nil, fs.ErrNotExist
		}
		if !ok {
			stored = nil
		}
		if err := b.read(m, index, stored); err != nil {
			return nil, err
		}
	}
	return b.data, nil
}

type box struct {
	data      []byte
	off, size []int
	fill      bool
}

func (b box) read(m *Metadata, index []int, stored []byte) error {
	chunk := make([]byte, m.ChunkBytes())
	inner, isShard := m.Inner()
	switch {
	case stored == nil:
		m.Fill(chunk)
	case isShard:
		r, err := m.ShardIndex(int64(len(stored)))
		if err != nil {
			return err
		}
		ranges, err := m.ParseShardIndex(stored[r.Offset:][:r.Length])
		if err != nil {
			return err
		}
		for i, at := range m.InnerChunks(index, b.off, b.size) {
			r, enc := ranges[i], []byte(nil)
			if !r.Absent() || !b.fill {
				if err := r.Check(int64(len(stored))); err != nil {
					return err
				}
				enc = stored[r.Offset:][:r.Length]
			}
			if inner.Key(at) != m.Key(index) {
				return errors.New("inner chunk has another key")
			}
			if err := b.read(inner, at, enc); err != nil {
				return err
			}
		}
		return nil
	case m.Raw():
		item := m.DType.Size()
		for k := 0; k < len(chunk); k += item {
			copy(chunk[k:], stored[k:k+item])
			if err := Finish(m.DType, chunk[k:k+item]); err != nil {
				return err
			}
		}
	default:
		if err := m.CheckStored(int64(len(stored))); err != nil {
			return err
		}
		if err := m.DecodeChunk(index, chunk, stored); err != nil {
			return err
		}
	}
	// The part that is in the chunk, the array and the box.
	at, n := m.ChunkRegion(index)
	from, to, part := make([]int, len(at)), make([]int, len(at)), make([]int, len(at))
	for i := range at {
		start, end := max(at[i], b.off[i]), min(at[i]+n[i], b.off[i]+b.size[i])
		from[i], to[i], part[i] = start-at[i], start-b.off[i], end-start
		if part[i] <= 0 {
			return errors.New("a chunk that does not overlap the box")
		}
	}
	copyRegion(b.data, b.size, to, chunk, m.ChunkShape, from, part, m.DType.Size())
	return nil
}

// cut returns a box of an array's elements.
func cut(data []byte, shape, off, size []int, item int) []byte {
	n, _ := array.NumElements(size)
	out := make([]byte, n*item)
	if n > 0 {
		copyRegion(out, size, make([]int, len(size)), data, shape, off, size, item)
	}
	return out
}

func randomBox(r *rand.Rand, shape []int) (off, size []int) {
	off, size = make([]int, len(shape)), make([]int, len(shape))
	for i, d := range shape {
		off[i] = r.IntN(d + 1)
		size[i] = r.IntN(d - off[i] + 1)
	}
	return off, size
}

// Boxes of arrays that TensorStore stored, in all encodings.
func TestGoldenBoxes(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, g := range loadGolden(t) {
		m, err := Parse(g.Format, []byte(g.Document))
		if err != nil {
			t.Fatal(err)
		}
		whole := readAllChunks(t, m, g.Chunks)
		for range 3 {
			off, size := randomBox(r, m.Shape)
			got, err := readBox(m, g.Chunks, off, size, false)
			if err != nil || !bytes.Equal(got, cut(whole, m.Shape, off, size, m.DType.Size())) {
				t.Errorf("%s: box %v at %v: %v", g.Name, size, off, err)
			}
		}
	}
}

// Arrays that TensorStore stored without the chunks that hold the fill value.
func TestSparse(t *testing.T) {
	var golden []golden
	loadJSON(t, "sparse.json.gz", &golden)
	r := rand.New(rand.NewPCG(7, 8))
	for _, g := range golden {
		t.Run(g.Name, func(t *testing.T) {
			m, err := Parse(g.Format, []byte(g.Document))
			if err != nil {
				t.Fatal(err)
			}
			filled := make(map[string][]byte) // decoded
			missing := false
			for index := range m.Chunks() {
				chunk := make([]byte, m.ChunkBytes())
				if enc, ok := g.Chunks[m.Key(index)]; !ok {
					missing = true
					m.Fill(chunk)
				} else {
					if err := m.Filling().CheckStored(int64(len(enc))); err != nil {
						t.Error(err)
					}
					if err := m.Filling().DecodeChunk(index, chunk, enc); err != nil {
						t.Fatal(err)
					}
					if err := m.DecodeChunk(index, bytes.Clone(chunk), enc); errors.Is(err, fs.ErrNotExist) {
						missing = true
					} else if err != nil {
						t.Fatal(err)
					}
				}
				filled[m.Key(index)] = chunk
			}
			if !missing {
				t.Error("everything is stored")
			}
			got := make([]byte, len(g.Want))
			for index := range m.Chunks() {
				offset, size := m.ChunkRegion(index)
				copyRegion(got, m.Shape, offset, filled[m.Key(index)], m.ChunkShape, make([]int, len(size)), size, m.DType.Size())
			}
			if !bytes.Equal(got, g.Want) {
				t.Errorf("got  %x\nwant %x", got, g.Want)
			}
			for range 20 {
				off, size := randomBox(r, m.Shape)
				got, err := readBox(m, g.Chunks, off, size, true)
				if err != nil || !bytes.Equal(got, cut(g.Want, m.Shape, off, size, m.DType.Size())) {
					t.Errorf("box %v at %v: %x, %v", size, off, got, err)
				}
			}
			if _, err := readBox(m, g.Chunks, make([]int, len(m.Shape)), m.Shape, false); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("nothing is missing: %v", err)
			}
		})
	}
}

// Of any array, decoding what overlaps a box gives the box.
func TestBoxes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape := rapid.SliceOfN(rapid.IntRange(0, 7), 0, 3).Draw(t, "shape")
		chunk := make([]int, len(shape))
		for i := range chunk {
			chunk[i] = rapid.SampledFrom([]int{1, 2, 4, 6, 12}).Draw(t, "chunk")
		}
		codec := drawCodec(t, chunk, 3)
		doc, err := json.Marshal(map[string]any{
			"zarr_format": 3, "node_type": "array", "shape": shape, "data_type": "int16", "fill_value": 0,
			"chunk_grid":         map[string]any{"name": "regular", "configuration": map[string]any{"chunk_shape": chunk}},
			"chunk_key_encoding": map[string]any{"name": "default"}, "codecs": codec.json(),
		})
		if err != nil {
			t.Fatal(err)
		}
		m, err := Parse(3, doc)
		if err != nil {
			t.Fatalf("%s: %v", doc, err)
		}
		n, _ := array.NumElements(shape)
		data := elements(rand.New(rand.NewPCG(uint64(n), 2)), array.Int16, n)
		chunks := make(map[string][]byte)
		for index := range m.Chunks() {
			padded := make([]byte, m.ChunkBytes())
			off, size := m.ChunkRegion(index)
			copyRegion(padded, chunk, make([]int, len(size)), data, shape, off, size, 2)
			chunks[m.Key(index)] = codec.encode(padded, chunk, 2)
		}
		off, size := make([]int, len(shape)), make([]int, len(shape))
		for i, d := range shape {
			off[i] = rapid.IntRange(0, d).Draw(t, "off")
			size[i] = rapid.IntRange(0, d-off[i]).Draw(t, "size")
		}
		got, err := readBox(m, chunks, off, size, false)
		if err != nil || !bytes.Equal(got, cut(data, shape, off, size, 2)) {
			t.Fatalf("%s: box %v at %v: %x, %v", doc, size, off, got, err)
		}
	})
}

// Overlapping is Chunks without those that hold nothing of the box, also for
// boxes that are not within the array.
func TestOverlapping(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &Metadata{Shape: rapid.SliceOfN(rapid.IntRange(0, 9), 0, 3).Draw(t, "shape")}
		var off, size []int
		bound := rapid.OneOf(rapid.IntRange(-4, 12), rapid.SampledFrom([]int{math.MinInt, math.MaxInt}))
		for range m.Shape {
			m.ChunkShape = append(m.ChunkShape, rapid.IntRange(1, 5).Draw(t, "chunk"))
			off = append(off, bound.Draw(t, "off"))
			size = append(size, bound.Draw(t, "size"))
		}
		var got, want [][]int
		for index := range m.Overlapping(off, size) {
			got = append(got, index)
		}
		for index := range m.Chunks() {
			at, n := m.ChunkRegion(index)
			overlaps := true
			for i := range at {
				some := false
				for x := at[i]; x < at[i]+n[i]; x++ {
					some = some || size[i] > 0 && x >= off[i] && (off[i] < 0 && x < off[i]+size[i] || off[i] >= 0 && x-off[i] < size[i])
				}
				overlaps = overlaps && some
			}
			if overlaps {
				want = append(want, index)
			}
		}
		if !slices.EqualFunc(got, want, slices.Equal) {
			t.Fatalf("got %v, want %v", got, want)
		}
		for index := range m.Overlapping(append(off, 0), append(size, 1)) {
			t.Fatalf("chunk %v overlaps a box of another rank", index)
		}
	})
}

func TestInnerArguments(t *testing.T) {
	plain, err := New(Options{Shape: []int{4}, DType: array.Int8})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := plain.Inner(); ok {
		t.Error("inner chunks without a shard")
	}
	if _, err := plain.ShardIndex(100); !errors.Is(err, fault.ErrUnsupported) {
		t.Error(err)
	}
	if _, err := plain.ParseShardIndex(nil); !errors.Is(err, fault.ErrUnsupported) {
		t.Error(err)
	}
	for range plain.InnerChunks([]int{0}, []int{0}, []int{4}) {
		t.Error("inner chunks without a shard")
	}
	m := goldenMetadata(t, "int32/shards")
	for _, index := range [][]int{nil, {0}, {-1, 0}, {9, 9}} {
		for range m.InnerChunks(index, []int{0, 0}, m.Shape) {
			t.Errorf("inner chunks of %v", index)
		}
	}
	for range m.InnerChunks([]int{0, 0}, []int{2, 0}, []int{1, 4}) {
		t.Error("inner chunks of another shard")
	}
	const codecs = "bytes(big) + crc32c"
	if inner, ok := m.Inner(); !ok || inner.Codecs() != codecs {
		t.Errorf("inner chunks are encoded by %q", inner.Codecs())
	}
	r, err := m.ShardIndex(1000)
	if err != nil || r.Offset != 0 {
		t.Errorf("index at %v, %v", r, err)
	}
	if _, err := m.ShardIndex(r.Length - 1); !errors.Is(err, fault.ErrCorrupt) {
		t.Error(err)
	}
	for _, n := range []int64{0, r.Length - 1, r.Length, r.Length + 1} {
		if _, err := m.ParseShardIndex(make([]byte, n)); !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("index of %d zeros: %v", n, err)
		}
	}
}

func goldenMetadata(t testing.TB, name string) *Metadata {
	t.Helper()
	for _, g := range loadGolden(t) {
		if g.Name == name {
			m, err := Parse(g.Format, []byte(g.Document))
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
	}
	t.Fatalf("no golden %s", name)
	return nil
}

func TestRange(t *testing.T) {
	for _, c := range []struct {
		r    Range
		n    int64
		good bool
	}{
		{Range{0, 0}, 0, true}, {Range{0, 10}, 10, true}, {Range{10, 0}, 10, true}, {Range{3, 7}, 10, true},
		{Range{3, 8}, 10, false}, {Range{11, 0}, 10, false}, {Range{0, 11}, 10, false},
		{Range{-1, -1}, 10, false}, {Range{-1, 4}, 10, false}, {Range{4, -1}, 10, false}, {Range{0, 0}, -1, false},
		{Range{math.MaxInt64, math.MaxInt64}, 10, false}, {Range{math.MinInt64, math.MinInt64}, 10, false},
		{Range{math.MaxInt64, 1}, math.MaxInt64, false}, {Range{1, math.MaxInt64}, math.MaxInt64, false},
	} {
		err := c.r.Check(c.n)
		if (err == nil) != c.good || err != nil && !errors.Is(err, fault.ErrCorrupt) || errors.Is(err, fs.ErrNotExist) != c.r.Absent() {
			t.Errorf("%v of %d bytes: %v", c.r, c.n, err)
		}
	}
}
