package zarr

import (
	"fmt"
	"strconv"
	"strings"
)

// document3 returns the zarr.json of metadata that New has made. The bytes are those that
// TensorStore writes: compact, members sorted.
func (m *Metadata) document3() []byte {
	codecs := `{"configuration":{"endian":"little"},"name":"bytes"}`
	m.chain.labels = []string{"bytes(little)"}
	if m.DType.Size() == 1 {
		codecs = `{"name":"bytes"}`
		m.chain.labels = []string{"bytes"}
	}
	if m.frames == encodeStored {
		codecs += `,{"name":"crc32c"}`
		m.chain.labels = append(m.chain.labels, "crc32c")
	} else {
		codecs += fmt.Sprintf(`,{"configuration":{"checksum":true,"level":%d},"name":"zstd"}`, m.level)
		m.chain.labels = append(m.chain.labels, "zstd")
	}
	return fmt.Appendf(nil, `{"chunk_grid":{"configuration":{"chunk_shape":%s},"name":"regular"},`+
		`"chunk_key_encoding":{"name":"default"},"codecs":[%s],"data_type":"%v","fill_value":%s,`+
		`"node_type":"array","shape":%s,"zarr_format":3}`,
		jsonInts(m.ChunkShape), codecs, m.DType, zeroFill(m.DType), jsonInts(m.Shape))
}

// document2 does the same for the .zarray. An uncompressed array says zstd too, because
// frames of stored blocks carry a checksum.
func (m *Metadata) document2() []byte {
	m.chain.labels = []string{"C", "zstd"}
	return fmt.Appendf(nil, `{"chunks":%s,"compressor":{"id":"zstd","level":%d},"dimension_separator":".",`+
		`"dtype":"%s","fill_value":null,"filters":null,"order":"C","shape":%s,"zarr_format":2}`,
		jsonInts(m.ChunkShape), m.level, name2(m.DType), jsonInts(m.Shape))
}

func jsonInts(s []int) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, n := range s {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(n))
	}
	b.WriteByte(']')
	return b.String()
}
