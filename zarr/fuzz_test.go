package zarr

import (
	"bytes"
	"testing"
)

// fuzzMemory keeps fuzzing away from documents of chunks that are merely large.
const fuzzMemory = 1 << 20

func fuzzParse(f *testing.F, format int) {
	seen := map[string]bool{}
	for _, g := range loadGolden(f) {
		if g.Format == format && g.DType == "int32" && !seen[g.Document] && len(seen) < 40 {
			seen[g.Document] = true
			f.Add([]byte(g.Document), []byte(nil))
		}
	}
	f.Fuzz(func(t *testing.T, doc, enc []byte) {
		m, err := Parse(format, doc)
		if err != nil {
			return
		}
		again, err := Parse(format, m.Document())
		if err != nil || again.Codecs() != m.Codecs() {
			t.Fatalf("parsed again: %v", err)
		}
		if m.ChunkBytes() < 1 || numChunks(m) < 0 {
			t.Fatalf("chunks of %d bytes, %d of them", m.ChunkBytes(), numChunks(m))
		}
		for index := range m.Chunks() {
			offset, size := m.ChunkRegion(index)
			for i := range index {
				if offset[i] < 0 || size[i] < 1 || offset[i]+size[i] > m.Shape[i] {
					t.Fatalf("chunk %v at %v, %v", index, offset, size)
				}
			}
			m.Key(index)
			if m.ChunkBytes() <= fuzzMemory {
				_ = m.DecodeChunk(index, make([]byte, m.ChunkBytes()), enc)
			}
			break
		}
	})
}

func FuzzParse2(f *testing.F) { fuzzParse(f, 2) }
func FuzzParse3(f *testing.F) { fuzzParse(f, 3) }

// FuzzDecodeChunk decodes arbitrary bytes with each of the golden codec chains.
func FuzzDecodeChunk(f *testing.F) {
	var all []*Metadata
	for _, g := range loadGolden(f) {
		if g.DType != "int32" && g.DType != "bool" && g.DType != "uint8" {
			continue
		}
		m, err := Parse(g.Format, []byte(g.Document))
		if err != nil {
			f.Fatal(err)
		}
		for index := range m.Chunks() {
			f.Add(uint(len(all)), g.Chunks[m.Key(index)])
			break
		}
		if numChunks(m) > 0 {
			all = append(all, m)
		}
	}
	f.Fuzz(func(t *testing.T, which uint, enc []byte) {
		m := all[which%uint(len(all))]
		index := make([]int, len(m.Shape))
		if err := m.DecodeChunk(index, make([]byte, m.ChunkBytes()), enc); err != nil {
			return
		}
	})
}

// FuzzParseShardIndex reads arbitrary bytes as the index of the golden shards.
func FuzzParseShardIndex(f *testing.F) {
	var all []*Metadata
	for _, g := range loadGolden(f) {
		m, err := Parse(g.Format, []byte(g.Document))
		if err != nil {
			f.Fatal(err)
		}
		enc := g.Chunks[m.Key(make([]int, len(m.Shape)))]
		r, err := m.ShardIndex(int64(len(enc)))
		if err != nil || g.DType != "int32" {
			continue
		}
		f.Add(uint(len(all)), enc[r.Offset:][:r.Length], int64(len(enc)))
		all = append(all, m)
	}
	// Damage is mostly found by the checksum: without it, more is parsed.
	f.Add(uint(0), bytes.Repeat([]byte{0xff, 0, 0, 0, 0x80}, 100), int64(1000))
	f.Fuzz(func(t *testing.T, which uint, enc []byte, n int64) {
		m := all[which%uint(len(all))]
		if r, err := m.ShardIndex(n); err == nil {
			if r.Check(n) != nil {
				t.Fatalf("index at %v of %d bytes", r, n)
			}
			if int64(len(enc)) > r.Length {
				enc = enc[:r.Length]
			}
		}
		ranges, err := m.ParseShardIndex(enc)
		if err != nil {
			return
		}
		seen := 0
		for i, at := range m.InnerChunks(make([]int, len(m.Shape)), make([]int, len(m.Shape)), m.Shape) {
			seen++
			if r := ranges[i]; r.Check(n) == nil && (r.Offset < 0 || r.Length < 0 || r.Offset+r.Length > n) {
				t.Fatalf("inner chunk %v at %v of %d bytes", at, r, n)
			}
		}
		if seen == 0 || seen > len(ranges) {
			t.Fatalf("%d inner chunks of %d", seen, len(ranges))
		}
	})
}
