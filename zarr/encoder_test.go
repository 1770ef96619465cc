package zarr

import (
	"encoding/binary"
	"hash/crc32"
	"slices"

	"pgregory.net/rapid"
)

// testCodec is a chain of an encoder for tests: a transpose, then either bytes
// with or without a checksum or a shard.
type testCodec struct {
	order      []int
	crc, start bool
	innerShape []int // after the transpose
	inner      *testCodec
}

func drawCodec(t *rapid.T, shape []int, depth int) *testCodec {
	c := &testCodec{crc: rapid.Bool().Draw(t, "crc"), start: rapid.Bool().Draw(t, "start")}
	if rapid.Bool().Draw(t, "transpose") {
		c.order = rapid.Permutation(identity(len(shape))).Draw(t, "order")
		shape = pick(shape, c.order)
	}
	if depth > 0 && rapid.Bool().Draw(t, "shard") {
		c.innerShape = make([]int, len(shape))
		for i, d := range shape {
			divisors := slices.DeleteFunc(identity(d+1), func(k int) bool { return k == 0 || d%k != 0 })
			c.innerShape[i] = rapid.SampledFrom(divisors).Draw(t, "inner")
		}
		c.inner = drawCodec(t, c.innerShape, depth-1)
	}
	return c
}

func (c *testCodec) json() (codecs []any) {
	entry := func(name string, configuration any) map[string]any {
		return map[string]any{"name": name, "configuration": configuration}
	}
	if c.order != nil {
		codecs = append(codecs, entry("transpose", map[string]any{"order": c.order}))
	}
	tail := []any{entry("bytes", map[string]any{"endian": "little"})}
	if c.crc {
		tail = append(tail, map[string]any{"name": "crc32c"})
	}
	if c.inner == nil {
		return append(codecs, tail...)
	}
	return append(codecs, entry("sharding_indexed", map[string]any{"chunk_shape": c.innerShape, "codecs": c.inner.json(),
		"index_codecs": tail, "index_location": map[bool]string{true: "start", false: "end"}[c.start]}))
}

func (c *testCodec) encode(data []byte, shape []int, item int) []byte {
	if c.order != nil {
		stored := make([]byte, len(data))
		back := make([]int, len(c.order))
		for i, x := range c.order {
			back[x] = i
		}
		shape = pick(shape, c.order)
		transpose(stored, data, shape, back, item)
		data = stored
	}
	sum := func(b []byte) []byte {
		if c.crc {
			b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
		}
		return b
	}
	if c.inner == nil {
		return sum(slices.Clone(data))
	}
	grid := make([]int, len(shape))
	entries := 1
	for i, d := range shape {
		grid[i] = d / c.innerShape[i]
		entries *= grid[i]
	}
	size := len(sum(make([]byte, indexEntry*entries)))
	var index, body []byte
	base := 0
	if c.start {
		base = size
	}
	at := make([]int, len(grid))
	for {
		off := make([]int, len(at))
		for i, x := range at {
			off[i] = x * c.innerShape[i]
		}
		body = append(body, "gap"...)
		enc := c.inner.encode(cut(data, shape, off, c.innerShape, item), c.innerShape, item)
		index = binary.LittleEndian.AppendUint64(index, uint64(base+len(body)))
		index = binary.LittleEndian.AppendUint64(index, uint64(len(enc)))
		body = append(body, enc...)
		if !next(at, grid) {
			break
		}
	}
	if c.start {
		return append(sum(index), body...)
	}
	return append(body, sum(index)...)
}
