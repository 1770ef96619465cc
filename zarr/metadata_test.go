package zarr

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// The documents must be what TensorStore writes, byte for byte.
func TestDocumentsAreTensorStores(t *testing.T) {
	options := map[string]Options{
		"crc32c":        {Format: 3, ChunkShape: []int{2, 3}},
		"zstd checksum": {Format: 3, ChunkShape: []int{2, 4}, Compression: Zstd(1)},
		"zstd":          {Format: 2, ChunkShape: []int{3, 4}, Compression: Zstd(1)},
	}
	tested := 0
	for _, g := range loadGolden(t) {
		d, variant, _ := strings.Cut(g.Name, "/")
		o, ok := options[variant]
		if !ok {
			continue
		}
		tested++
		o.Shape = g.Shape
		o.DType, _ = array.ParseDType(d)
		m, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(m.Document()); got != g.Document {
			t.Errorf("got  %s\nwant %s", got, g.Document)
		}
	}
	if tested != 3*25 {
		t.Errorf("%d documents", tested)
	}
}

func TestNewErrors(t *testing.T) {
	ok := Options{Shape: []int{4}, DType: array.Int8}
	for name, change := range map[string]func(*Options){
		"format":         func(o *Options) { o.Format = 4 },
		"dtype":          func(o *Options) { o.DType = array.Invalid },
		"negative":       func(o *Options) { o.Shape = []int{-1} },
		"chunk 0":        func(o *Options) { o.ChunkShape = []int{0} },
		"chunk rank":     func(o *Options) { o.ChunkShape = []int{2, 2} },
		"rank":           func(o *Options) { o.Shape = make([]int, 33) },
		"level":          func(o *Options) { o.Compression = Zstd(23) },
		"chunk overflow": func(o *Options) { o.Shape = []int{0, 0}; o.ChunkShape = []int{1 << 40, 1 << 40} },
		"overflow":       func(o *Options) { o.Shape = []int{1 << 40, 1 << 40}; o.ChunkShape = []int{1, 1} },
	} {
		t.Run(name, func(t *testing.T) {
			o := ok
			change(&o)
			if _, err := New(o); err == nil {
				t.Error("no error")
			}
		})
	}
	if m, err := New(ok); err != nil || m.Format != 3 || !slices.Equal(m.ChunkShape, []int{4}) {
		t.Errorf("%+v, %v", m, err)
	}
}

const (
	base3 = `{"chunk_grid":{"configuration":{"chunk_shape":[2,3]},"name":"regular"},"chunk_key_encoding":{"name":"default"},` +
		`"codecs":[{"configuration":{"endian":"little"},"name":"bytes"}],"data_type":"float32","fill_value":0.0,` +
		`"node_type":"array","shape":[4,3],"zarr_format":3}`
	base2 = `{"chunks":[2,3],"compressor":null,"dtype":"<f4","fill_value":null,"filters":null,"order":"C","shape":[4,3],"zarr_format":2}`
)

// with returns the document with a member replaced, or removed if value is "".
func with(t testing.TB, doc, name, value string) []byte {
	var o map[string]json.RawMessage
	if err := json.Unmarshal([]byte(doc), &o); err != nil {
		t.Fatal(err)
	}
	if value == "" {
		delete(o, name)
	} else {
		o[name] = json.RawMessage(value)
	}
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatalf("%s: %v", value, err)
	}
	return b
}

// What TensorStore 0.1.86 says about each of these was observed; the verdicts
// are the same unless a comment says otherwise.
func TestParse3(t *testing.T) {
	const le = `{"name":"bytes","configuration":{"endian":"little"}}`
	shard := func(inner, more string) string {
		return `[{"name":"sharding_indexed","configuration":{"chunk_shape":` + inner + `,"codecs":[` + le + `],"index_codecs":[` + le + `,{"name":"crc32c"}]` + more + `}}]`
	}
	verdicts(t, 3, base3, []verdict{
		{"codecs", `["bytes"]`, fault.ErrCorrupt},
		{"codecs", `[{"name":"bytes"}]`, fault.ErrCorrupt},
		{"codecs", `[` + le + `,` + le + `]`, fault.ErrCorrupt},
		{"codecs", `[]`, fault.ErrCorrupt},
		{"codecs", `[{"name":"crc32c"}]`, fault.ErrCorrupt},
		{"codecs", `[{"name":"crc32c"},` + le + `]`, fault.ErrCorrupt},
		{"codecs", `[` + le + `,{"name":"transpose","configuration":{"order":[1,0]}}]`, fault.ErrCorrupt},
		{"codecs", `[` + le + `,{"name":"crc32c","configuration":{}}]`, nil},
		{"codecs", `[` + le + `,{"name":"crc32c","configuration":{"a":1}}]`, fault.ErrUnsupported},
		{"codecs", `[` + le + `,{"name":"foo"}]`, fault.ErrUnsupported},
		{"codecs", `[` + le + `,{"name":"foo","must_understand":false}]`, fault.ErrUnsupported},
		{"codecs", `[{"name":"bytes","configuration":{"endian":"big"}}]`, nil},
		{"codecs", `[{"name":"bytes","configuration":{"endian":"middle"}}]`, fault.ErrCorrupt},
		{"codecs", `[{"name":"bytes","configuration":{"endian":"little","x":1}}]`, fault.ErrUnsupported},
		{"codecs", `[` + le + `,{"name":"zstd","configuration":{"level":3}}]`, nil},
		{"codecs", `[` + le + `,{"name":"zstd","configuration":{"level":3.0,"checksum":false}}]`, nil},
		{"codecs", `[` + le + `,{"name":"zstd","configuration":{"level":99}}]`, fault.ErrCorrupt},
		{"codecs", `[` + le + `,{"name":"zstd","configuration":{}}]`, fault.ErrCorrupt},
		{"codecs", `[` + le + `,{"name":"zstd"}]`, fault.ErrCorrupt},
		{"codecs", `[` + le + `,{"name":"gzip","configuration":{"level":3}}]`, nil},
		{"codecs", `[` + le + `,{"name":"gzip","configuration":{"level":10}}]`, fault.ErrCorrupt},
		{"codecs", `[` + le + `,{"name":"zlib","configuration":{"level":3}}]`, fault.ErrUnsupported},
		{"codecs", `[` + le + `,{"name":"blosc","configuration":{"cname":"lz4","clevel":5,"shuffle":"shuffle","typesize":4,"blocksize":0}}]`, nil},
		{"codecs", `[` + le + `,{"name":"blosc","configuration":{"cname":"lz4","clevel":5,"shuffle":"shuffle","blocksize":0}}]`, fault.ErrCorrupt},
		{"codecs", `[` + le + `,{"name":"blosc","configuration":{"cname":"foo","clevel":5,"shuffle":"noshuffle","blocksize":0}}]`, fault.ErrUnsupported},
		{"codecs", `[{"name":"transpose","configuration":{"order":[1,0]}},` + le + `]`, nil},
		{"codecs", `[{"name":"transpose","configuration":{"order":"F"}},` + le + `]`, nil},
		{"codecs", `[{"name":"transpose","configuration":{"order":"C"}},` + le + `]`, nil},
		{"codecs", `[{"name":"transpose","configuration":{"order":[0,0]}},` + le + `]`, fault.ErrCorrupt},
		{"codecs", `[{"name":"transpose","configuration":{"order":[0]}},` + le + `]`, fault.ErrCorrupt},
		{"codecs", `[{"name":"transpose"},` + le + `]`, fault.ErrCorrupt},
		{"codecs", shard("[2,3]", ""), nil},
		{"codecs", shard("[1,3]", `,"index_location":"start"`), nil},
		{"codecs", shard("[1,3]", `,"index_location":"mid"`), fault.ErrCorrupt},
		{"codecs", shard("[2,2]", ""), fault.ErrCorrupt},
		{"codecs", shard("[4,3]", ""), fault.ErrCorrupt},
		{"codecs", shard("[3]", ""), fault.ErrCorrupt},
		{"codecs", strings.Replace(shard("[2,3]", ""), `{"name":"crc32c"}`, `{"name":"zstd","configuration":{"level":1}}`, 1), fault.ErrUnsupported},
		{"codecs", strings.TrimSuffix(shard("[2,3]", ""), "]") + `,{"name":"crc32c"}]`, fault.ErrUnsupported},
		{"chunk_key_encoding", `"default"`, fault.ErrCorrupt},
		{"chunk_key_encoding", `{"name":"default","extra":1}`, fault.ErrUnsupported},
		{"chunk_key_encoding", `{"name":"default","configuration":{"separator":"."}}`, nil},
		{"chunk_key_encoding", `{"name":"default","configuration":{"separator":"-"}}`, fault.ErrCorrupt},
		{"chunk_key_encoding", `{"name":"v2"}`, nil},
		{"chunk_key_encoding", `{"name":"v3"}`, fault.ErrUnsupported},
		{"chunk_grid", `{"name":"regular","configuration":{"chunk_shape":[0,3]}}`, fault.ErrShape},
		{"chunk_grid", `{"name":"regular","configuration":{"chunk_shape":[3]}}`, fault.ErrShape},
		{"chunk_grid", `{"name":"regular","configuration":{"chunk_shape":[1099511627776,1099511627776]}}`, fault.ErrUnsupported},
		{"chunk_grid", `{"name":"rectilinear"}`, fault.ErrUnsupported},
		{"data_type", `{"name":"float32"}`, fault.ErrUnsupported},
		{"data_type", `"uint2"`, fault.ErrUnsupported},
		{"fill_value", `1`, nil},
		{"fill_value", `"NaN"`, nil},
		{"fill_value", `"-Infinity"`, nil},
		{"fill_value", `"0x7fc00000"`, nil},
		{"fill_value", `"nan"`, fault.ErrCorrupt},
		{"fill_value", `true`, fault.ErrCorrupt},
		{"fill_value", `null`, fault.ErrCorrupt},
		{"fill_value", `[0]`, fault.ErrCorrupt},
		{"fill_value", `1e400`, fault.ErrCorrupt},
		{"shape", `["2",3]`, fault.ErrCorrupt},
		{"shape", `[2.0,3]`, nil},
		{"shape", `[2.5,3]`, fault.ErrCorrupt},
		{"shape", `[-1,3]`, fault.ErrShape},
		{"shape", `[4611686018427387904,3]`, fault.ErrUnsupported}, // TensorStore opens it; nothing could hold it
		{"shape", `[0,4611686018427387904]`, fault.ErrUnsupported}, // likewise
		{"shape", `[99999999999999999999,3]`, fault.ErrCorrupt},
		{"shape", `[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]`, fault.ErrUnsupported},
		{"node_type", `"group"`, fault.ErrUnsupported},
		{"zarr_format", `2`, fault.ErrCorrupt},
		{"zarr_format", `"3"`, fault.ErrCorrupt},
		{"dimension_names", `["a",null]`, nil},
		{"dimension_names", `["a"]`, fault.ErrCorrupt},
		{"attributes", `{"a":[1]}`, nil},
		{"attributes", `[]`, fault.ErrCorrupt},
		{"storage_transformers", `[]`, nil},
		{"storage_transformers", `[{"name":"x"}]`, fault.ErrUnsupported},
		{"foo", `{"must_understand":false,"a":1}`, nil},
		{"foo", `{"must_understand":true}`, fault.ErrUnsupported},
		{"foo", `1`, fault.ErrUnsupported},
	}, "chunk_grid", "chunk_key_encoding", "codecs", "data_type", "fill_value", "node_type", "shape", "zarr_format")
}

func TestIsGroup(t *testing.T) {
	for doc, want := range map[string]bool{
		`{"zarr_format":3,"node_type":"group"}`:                    true,
		`{"node_type":"group","attributes":{"a":1},"future":null}`: true,
		`{"node_type":"gr\u006fup"}`:                               true,
		base3:                                                      false, `{"node_type":"group"`: false, `{"node_type":["group"]}`: false, `"group"`: false, ``: false,
	} {
		t.Run(doc, func(t *testing.T) {
			if IsGroup([]byte(doc)) != want {
				t.Errorf("%v", !want)
			}
		})
	}
}

func TestParse2(t *testing.T) {
	verdicts(t, 2, base2, []verdict{
		{"fill_value", `0`, nil},
		{"fill_value", `"NaN"`, nil},
		{"fill_value", `"x"`, fault.ErrCorrupt},
		{"fill_value", `true`, fault.ErrCorrupt},
		{"dtype", `"f4"`, fault.ErrUnsupported},
		{"dtype", `"=f4"`, fault.ErrUnsupported},
		{"dtype", `"|f4"`, fault.ErrUnsupported},
		{"dtype", `">i2"`, nil},
		{"dtype", `"<i1"`, nil},
		{"dtype", `">u1"`, nil},
		{"dtype", `"bfloat16"`, nil},
		{"dtype", `">bfloat16"`, fault.ErrUnsupported},
		{"dtype", `"float32"`, fault.ErrUnsupported},
		{"dtype", `"<f16"`, fault.ErrUnsupported},
		{"dtype", `"|S4"`, fault.ErrUnsupported},         // TensorStore has bytes
		{"dtype", `[["x","<f4"]]`, fault.ErrUnsupported}, // and records
		{"filters", `[]`, nil},
		{"filters", `[{"id":"x"}]`, fault.ErrUnsupported},
		{"compressor", `{"id":"zstd"}`, nil},
		{"compressor", `{"id":"zstd","level":1,"checksum":true}`, fault.ErrUnsupported},
		{"compressor", `{"id":"zstd","level":100}`, fault.ErrCorrupt},
		{"compressor", `{"id":"zlib","level":1}`, nil},
		{"compressor", `{"id":"bz2"}`, nil},
		{"compressor", `{"id":"blosc"}`, nil},
		{"compressor", `{"id":"blosc","cname":"lz4","clevel":5,"shuffle":-1,"blocksize":0}`, nil},
		{"compressor", `{"id":"blosc","cname":"lz4","clevel":5,"shuffle":1,"zzz":1}`, fault.ErrUnsupported},
		{"compressor", `{"id":"lz4"}`, fault.ErrUnsupported},
		{"compressor", `"zstd"`, fault.ErrCorrupt},
		{"dimension_separator", `"/"`, nil},
		{"dimension_separator", `"-"`, fault.ErrCorrupt},
		{"dimension_separator", `null`, fault.ErrCorrupt},
		{"order", `"F"`, nil},
		{"order", `"A"`, fault.ErrCorrupt},
		{"foo", `1`, nil},
		{"chunks", `[0,3]`, fault.ErrShape},
		{"chunks", `[3]`, fault.ErrShape},
		{"zarr_format", `3`, fault.ErrCorrupt},
	}, "chunks", "compressor", "dtype", "fill_value", "filters", "order", "shape", "zarr_format")
}

type verdict struct {
	member, value string
	err           error
}

func verdicts(t *testing.T, format int, base string, cases []verdict, mandatory ...string) {
	if _, err := Parse(format, []byte(base)); err != nil {
		t.Fatal(err)
	}
	for _, name := range mandatory {
		cases = append(cases, verdict{name, "", fault.ErrCorrupt})
	}
	for _, c := range cases {
		doc := with(t, base, c.member, c.value)
		m, err := Parse(format, doc)
		if !errors.Is(err, c.err) {
			t.Errorf("%s = %s: got %v, want %v", c.member, c.value, err, c.err)
		}
		if err == nil && string(m.Document()) != string(doc) {
			t.Errorf("%s = %s: document changed", c.member, c.value)
		}
	}
	for _, doc := range []string{"", "null", "[]", "{", base + "x", "{}" + base} {
		t.Run(doc, func(t *testing.T) {
			if _, err := Parse(format, []byte(doc)); !errors.Is(err, fault.ErrCorrupt) {
				t.Errorf("got %v, want %v", err, fault.ErrCorrupt)
			}
		})
	}
}

func TestGrid(t *testing.T) {
	m, err := Parse(3, []byte(base3))
	if err != nil {
		t.Fatal(err)
	}
	m.Shape, m.ChunkShape = []int{5, 3, 0}, []int{2, 7, 1}
	if got := m.grid(); !slices.Equal(got, []int{3, 1, 0}) || numChunks(m) != 0 {
		t.Errorf("grid %v", got)
	}
	for index := range m.Chunks() {
		t.Errorf("chunk %v of an empty array", index)
	}
	m.Shape, m.ChunkShape = []int{5, 3}, []int{2, 2}
	var keys []string
	var regions [][]int
	for index := range m.Chunks() {
		keys = append(keys, m.Key(index))
		offset, size := m.ChunkRegion(index)
		regions = append(regions, append(offset, size...))
	}
	if want := []string{"c/0/0", "c/0/1", "c/1/0", "c/1/1", "c/2/0", "c/2/1"}; !slices.Equal(keys, want) {
		t.Errorf("keys %v", keys)
	}
	if want := [][]int{{0, 0, 2, 2}, {0, 2, 2, 1}, {2, 0, 2, 2}, {2, 2, 2, 1}, {4, 0, 1, 2}, {4, 2, 1, 1}}; !reflect.DeepEqual(regions, want) {
		t.Errorf("regions %v", regions)
	}
	m.Shape, m.ChunkShape = []int{math.MaxInt}, []int{math.MaxInt - 1}
	if got := m.grid(); !slices.Equal(got, []int{2}) {
		t.Errorf("grid %v", got)
	}
}

func TestCodecs(t *testing.T) {
	want := map[string]string{
		"int32/crc32c":          "bytes(little) + crc32c",
		"int8/crc32c":           "bytes + crc32c",
		"int32/transpose shard": "transpose[2 0 1] + sharding_indexed[3 2 2](bytes(little))",
		"int32/null":            "C",
		"int32/big F zlib":      "F + big-endian + zlib",
	}
	raw := map[string][2]bool{"int32/crc32c": {true, true}, "int8/crc32c": {true, true}, "int32/null": {false, true}}
	for _, g := range loadGolden(t) {
		if s, ok := want[g.Name]; ok {
			m, err := Parse(g.Format, []byte(g.Document))
			if err != nil {
				t.Fatal(err)
			}
			crc, isRaw := m.verbatim()
			if m.Codecs() != s || raw[g.Name] != [2]bool{crc, isRaw} {
				t.Errorf("%s: %q, raw %v %v", g.Name, m.Codecs(), crc, isRaw)
			}
			delete(want, g.Name)
		}
	}
	if len(want) > 0 {
		t.Errorf("not in golden data: %v", want)
	}
}
