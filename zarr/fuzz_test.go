package zarr

import (
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
