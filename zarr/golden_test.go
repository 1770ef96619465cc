package zarr

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-orbax/orbax/array"
)

// golden is an array that the real TensorStore stored; see testdata/gen.py.
type golden struct {
	Name     string
	Format   int
	DType    string
	Shape    []int
	Document string
	Chunks   map[string][]byte
	Want     []byte
	SHA256   string
}

func loadGolden(t testing.TB) []golden {
	t.Helper()
	var g []golden
	loadJSON(t, "golden.json.gz", &g)
	return g
}

// loadJSON reads a compressed file of testdata into v.
func loadJSON(t testing.TB, name string, v any) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(r).Decode(v); err != nil {
		t.Fatal(err)
	}
}

// readAllChunks decodes an array of m from its chunks by key.
func readAllChunks(t testing.TB, m *Metadata, chunks map[string][]byte) []byte {
	t.Helper()
	n, err := array.NumElements(m.Shape)
	if err != nil {
		t.Fatal(err)
	}
	item := m.DType.Size()
	out := make([]byte, n*item)
	chunk := make([]byte, m.ChunkBytes())
	for index := range m.Chunks() {
		enc, ok := chunks[m.Key(index)]
		if !ok {
			t.Fatalf("no chunk %s", m.Key(index))
		}
		if err := m.DecodeChunk(index, chunk, enc); err != nil {
			t.Fatalf("chunk %s: %v", m.Key(index), err)
		}
		offset, size := m.ChunkRegion(index)
		copyRegion(out, m.Shape, offset, chunk, m.ChunkShape, make([]int, len(size)), size, item)
	}
	return out
}

// writeAllChunks is the opposite.
func writeAllChunks(t testing.TB, m *Metadata, data []byte) map[string][]byte {
	t.Helper()
	chunks := make(map[string][]byte)
	for index := range m.Chunks() {
		chunk := make([]byte, m.ChunkBytes())
		offset, size := m.ChunkRegion(index)
		copyRegion(chunk, m.ChunkShape, make([]int, len(size)), data, m.Shape, offset, size, m.DType.Size())
		enc, err := m.AppendChunk(nil, chunk)
		if err != nil {
			t.Fatal(err)
		}
		chunks[m.Key(index)] = enc
	}
	return chunks
}

// copyRegion copies a box of the given size between two row-major arrays, an
// element at a time.
func copyRegion(dst []byte, dstShape, dstAt []int, src []byte, srcShape, srcAt, size []int, item int) {
	index := make([]int, len(size))
	for {
		d, s := 0, 0
		for i, x := range index {
			d = d*dstShape[i] + dstAt[i] + x
			s = s*srcShape[i] + srcAt[i] + x
		}
		copy(dst[d*item:(d+1)*item], src[s*item:(s+1)*item])
		if !next(index, size) {
			return
		}
	}
}

func TestGolden(t *testing.T) {
	for _, g := range loadGolden(t) {
		t.Run(g.Name, func(t *testing.T) {
			m, err := Parse(g.Format, []byte(g.Document))
			if err != nil {
				t.Fatalf("%v\n%s", err, g.Document)
			}
			if m.DType.String() != g.DType {
				t.Errorf("dtype %v", m.DType)
			}
			got := readAllChunks(t, m, g.Chunks)
			if g.SHA256 != "" {
				if sum := sha256.Sum256(got); hex.EncodeToString(sum[:]) != g.SHA256 {
					t.Error("wrong data")
				}
			} else if !bytes.Equal(got, g.Want) {
				t.Errorf("got  %x\nwant %x", got, g.Want)
			}
			if n := numChunks(m); n != len(g.Chunks) {
				t.Errorf("%d chunks, TensorStore wrote %d", n, len(g.Chunks))
			}
		})
	}
}

// numChunks returns the number of chunks of an array.
func numChunks(m *Metadata) int {
	n, _ := product(m.grid(), 1, math.MaxInt)
	return n
}
