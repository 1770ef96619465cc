package zarr

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// readDirect reads enc as a caller of Direct does, n bytes of it into place.
func readDirect(d *Direct, enc []byte, n int) ([]byte, error) {
	data := slices.Clone(enc[:n])
	if d.Step != nil {
		d.Step(data[:n/2])
		d.Step(data[n/2:])
	}
	return data, d.Done(data, enc[n:])
}

func TestDirect(t *testing.T) {
	for _, c := range []struct {
		codecs, dtype string
		shape, chunk  string
		index         []int
		elements      int // in the array; 0: not read directly
		crc           bool
	}{
		{`{"name":"bytes"},{"name":"crc32c"}`, "int8", "[4,3]", "[2,3]", []int{1, 0}, 6, true},
		{`{"name":"bytes"},{"name":"crc32c"}`, "bool", "[4,3]", "[2,3]", []int{1, 0}, 6, true},
		{`{"name":"bytes"}`, "int4", "[4,3]", "[2,3]", []int{1, 0}, 6, false},
		{`{"name":"bytes"}`, "bool", "[4,3]", "[2,3]", []int{1, 0}, 0, false},
		{`{"name":"bytes"},{"name":"crc32c"}`, "int8", "[3,3]", "[2,3]", []int{1, 0}, 3, true},
		{`{"name":"bytes"},{"name":"crc32c"}`, "int8", "[4,2]", "[2,3]", []int{1, 0}, 0, true},
		{`{"name":"bytes"},{"name":"crc32c"}`, "int8", "[]", "[]", []int{}, 1, true},
		{`{"name":"bytes"},{"name":"crc32c"},{"name":"crc32c"}`, "int8", "[4,3]", "[2,3]", []int{0, 0}, 0, true},
		{`{"name":"transpose","configuration":{"order":[1,0]}},{"name":"bytes"}`, "int8", "[4,3]", "[2,3]", []int{0, 0}, 0, false},
		{`{"name":"bytes"},{"name":"gzip","configuration":{"level":1}}`, "int8", "[4,3]", "[2,3]", []int{0, 0}, 0, false},
	} {
		doc := with(t, base3, "codecs", "["+c.codecs+"]")
		doc = with(t, string(doc), "data_type", `"`+c.dtype+`"`)
		doc = with(t, string(doc), "shape", c.shape)
		doc = with(t, string(doc), "chunk_grid", `{"configuration":{"chunk_shape":`+c.chunk+`},"name":"regular"}`)
		doc = with(t, string(doc), "fill_value", map[bool]string{true: "false", false: "0"}[c.dtype == "bool"])
		m, err := Parse(3, doc)
		if err != nil {
			t.Fatalf("%s: %v", doc, err)
		}
		d, ok := m.Direct(c.index)
		if ok != (c.elements > 0) {
			t.Errorf("%s: read directly: %v", doc, ok)
		}
		if !ok {
			continue
		}
		if (d.Step != nil) != c.crc {
			t.Errorf("%s: Step %v", doc, d.Step != nil)
		}
		chunk := make([]byte, m.ChunkBytes())
		chunk[0] = 1
		enc, err := m.AppendChunk(nil, chunk)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readDirect(d, enc, c.elements)
		if err != nil || !bytes.Equal(got, chunk[:c.elements]) {
			t.Errorf("%s: read %v, %v", doc, got, err)
		}
		if !c.crc {
			continue
		}
		for at := range enc {
			enc[at] ^= 1
			d, _ := m.Direct(c.index)
			if _, err := readDirect(d, enc, c.elements); !errors.Is(err, fault.ErrCorrupt) {
				t.Errorf("%s: byte %d changed: %v", doc, at, err)
			}
			enc[at] ^= 1
		}
		d, _ = m.Direct(c.index)
		if _, err := readDirect(d, enc[:c.elements+3], c.elements); !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("%s: cut off: %v", doc, err)
		}
	}
}

// Done gives the elements the form that DecodeChunk gives them.
func TestDirectFinishes(t *testing.T) {
	m, err := Parse(3, with(t, string(with(t, string(with(t, base3, "codecs", `[{"name":"bytes"}]`)), "data_type", `"int4"`)), "fill_value", "0"))
	if err != nil {
		t.Fatal(err)
	}
	d, ok := m.Direct([]int{0, 0})
	if !ok {
		t.Fatal("not read directly")
	}
	data, err := readDirect(d, []byte{0x0f, 0xf7, 8, 7, 0, 1}, 6)
	if want := []byte{0xff, 7, 0xf8, 7, 0, 1}; err != nil || !bytes.Equal(data, want) {
		t.Errorf("% x, %v, want % x", data, err, want)
	}
	bools, err := New(Options{Shape: []int{9}, DType: array.Bool})
	if err != nil {
		t.Fatal(err)
	}
	bad := []byte{0, 0, 0, 0, 0, 0, 0, 0, 2}
	if enc, err := bools.AppendChunk(nil, bad); !errors.Is(err, fault.ErrLeafType) || enc != nil {
		t.Errorf("encoding a bool of 2: %v", err)
	}
	if _, ok := bools.Tail(bad); ok {
		t.Error("bools are taken without a look at them")
	}
	bytes, err := New(Options{Shape: []int{9}, DType: array.Uint8}) // the same chunks
	if err != nil {
		t.Fatal(err)
	}
	enc, err := bytes.AppendChunk(nil, bad)
	if err != nil {
		t.Fatal(err)
	}
	d, _ = bools.Direct([]int{0})
	if _, err := readDirect(d, enc, 9); !errors.Is(err, fault.ErrCorrupt) {
		t.Errorf("a bool of 2: %v", err)
	}
}

// A chunk and its tail are what AppendChunk makes.
func TestTail(t *testing.T) {
	want := map[string]bool{
		"int32/null": true, "int32/rank 3": true, "int8/plain": true, "int32/crc32c": true,
		"int32/zstd": false, "int32/transpose": false, "int32/big": false, "int32/shards": false,
	}
	for _, g := range loadGolden(t) {
		m, err := Parse(g.Format, []byte(g.Document))
		if err != nil {
			t.Fatal(err)
		}
		chunk := make([]byte, m.ChunkBytes())
		for i := range chunk {
			chunk[i] = byte(i * 7)
		}
		appendTail, ok := m.Tail(chunk)
		if w, known := want[g.Name]; known && ok != w {
			t.Errorf("%s, %s: %v", g.Name, m.Codecs(), ok)
		}
		if !ok {
			continue
		}
		enc, err := m.AppendChunk([]byte("before"), chunk)
		if got := appendTail(append([]byte("before"), chunk...)); err != nil || !bytes.Equal(got, enc) {
			t.Errorf("%s, %s: % x, want % x, %v", g.Name, m.Codecs(), got, enc, err)
		}
	}
	masked, err := New(Options{Shape: []int{3}, DType: array.Int4})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := masked.Tail(make([]byte, 3)); ok {
		t.Error("a chunk of int4 is not written as it is")
	}
}

func TestRaw(t *testing.T) {
	want := map[string]bool{
		"int32/null": true, "bool/null": true, "int32/scalar": true, "int32/rank 3": true, "int8/plain": true,
		"int32/crc32c": false, "int32/zstd": false, "int32/transpose": false, "int32/big": false, "int32/shards": false,
		"int16/F < . None": false,
	}
	for _, g := range loadGolden(t) {
		w, ok := want[g.Name]
		if g.Name == "int32/scalar" && g.Format == 3 {
			w = false // has a checksum
		}
		m, err := Parse(g.Format, []byte(g.Document))
		if err != nil {
			t.Fatal(err)
		}
		if ok && m.Raw() != w {
			t.Errorf("%s, %s: %v", g.Name, m.Codecs(), m.Raw())
		}
		if !m.Raw() {
			continue
		}
		// Element by element, the stored chunk is the decoded one.
		for index := range m.Chunks() {
			enc, chunk, item := g.Chunks[m.Key(index)], make([]byte, m.ChunkBytes()), m.DType.Size()
			if err := m.DecodeChunk(index, chunk, enc); err != nil {
				t.Fatal(err)
			}
			for at := 0; at < len(chunk); at += item {
				element := slices.Clone(enc[at : at+item])
				if err := Finish(m.DType, element); err != nil || !bytes.Equal(element, chunk[at:at+item]) {
					t.Errorf("%s: element at byte %d is % x, %v", g.Name, at, element, err)
				}
			}
		}
	}
	if err := Finish(array.Bool, []byte{0, 1, 2}); !errors.Is(err, fault.ErrCorrupt) {
		t.Error(err)
	}
}

// Filling metadata accepts shards that are short of inner chunks, of any size
// that is not far from the array's own.
func TestCheckStoredFilling(t *testing.T) {
	const le = `{"name":"bytes","configuration":{"endian":"little"}}`
	const shards = `[{"name":"sharding_indexed","configuration":{"chunk_shape":[1099511627776],"codecs":[` + le + `],"index_codecs":[` + le + `]}}]`
	for _, c := range []struct {
		shape string
		good  bool
	}{{"[2199023255552]", true}, {"[1099511627776]", true}, {"[1099511627775]", false}, {"[1]", false}} {
		doc := with(t, string(with(t, base3, "shape", c.shape)), "chunk_grid",
			`{"configuration":{"chunk_shape":[2199023255552]},"name":"regular"}`)
		m, err := Parse(3, with(t, string(doc), "codecs", shards))
		if err != nil {
			t.Fatal(err)
		}
		if err := m.CheckStored(32); !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("%s: %v", c.shape, err)
		}
		m = m.Filling()
		if err := m.CheckStored(32); (err == nil) != c.good {
			t.Errorf("%s: %v", c.shape, err)
		}
		if err := m.CheckStored(31); !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("%s: %v", c.shape, err)
		}
	}
}

func TestCheckStored(t *testing.T) {
	for _, c := range []struct {
		o        Options
		good, no []int64
	}{
		{Options{Shape: []int{4}, DType: array.Int16}, []int64{12}, []int64{-1, 0, 8, 11, 13, 1 << 40}},
		{Options{Shape: []int{4}, DType: array.Int16, Format: 2}, []int64{1, 30}, []int64{-1}},
		{Options{Shape: []int{1 << 40}, DType: array.Int8, Compression: Zstd(1)}, []int64{1 << 24, 1 << 40}, []int64{-1, 0, 1<<24 - 1, 1 << 50}},
	} {
		m, err := New(c.o)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range c.good {
			if err := m.CheckStored(n); err != nil {
				t.Errorf("%s, %d bytes: %v", m.Codecs(), n, err)
			}
		}
		for _, n := range c.no {
			if err := m.CheckStored(n); !errors.Is(err, fault.ErrCorrupt) {
				t.Errorf("%s, %d bytes: %v", m.Codecs(), n, err)
			}
		}
	}
}
