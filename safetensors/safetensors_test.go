package safetensors_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/safetensors"
	"pgregory.net/rapid"
)

// golden are files that the reference implementation wrote.
var golden = []string{"dtypes", "names", "none"}

func readGolden(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readHeader(b []byte) (*safetensors.Header, error) {
	return safetensors.ReadHeader(bytes.NewReader(b), int64(len(b)))
}

// file returns a file with the given header and n bytes of data.
func file(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, n)...)
}

// tensor returns the entry of a tensor in a header.
func tensor(dtype, shape string, begin, end uint64) string {
	return fmt.Sprintf(`{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, dtype, shape, begin, end)
}

func TestGoldenDTypes(t *testing.T) {
	// The order of DTYPES in gen.py, by which each tensor's bytes count up.
	dtypes := []array.DType{
		array.Bool, array.Uint8, array.Int8, array.Float8E5M2, array.Float8E4M3FN, array.Float8E8M0FNU,
		array.Float8E4M3FNUZ, array.Float8E5M2FNUZ, array.Int16, array.Uint16, array.Float16,
		array.BFloat16, array.Int32, array.Uint32, array.Float32, array.Complex64, array.Float64, array.Int64,
		array.Uint64,
	}
	b := readGolden(t, "dtypes")
	h, err := readHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Tensors) != len(dtypes) {
		t.Fatalf("%d tensors, want %d", len(h.Tensors), len(dtypes))
	}
	if want := map[string]string{"format": "np"}; !reflect.DeepEqual(h.Metadata, want) {
		t.Errorf("metadata %v, want %v", h.Metadata, want)
	}
	for _, got := range h.Tensors {
		first := slices.Index(dtypes, got.DType)
		if got.Name != got.DType.String() || !slices.Equal(got.Shape, []int{2, 3}) || first < 0 {
			t.Errorf("tensor %+v", got)
			continue
		}
		for i, c := range b[got.Offset:][:got.Length] {
			want := byte(first + i)
			if got.DType == array.Bool {
				want &= 1
			}
			if c != want {
				t.Errorf("%v: byte %d is %d, want %d", got.DType, i, c, want)
			}
		}
	}
}

func TestGoldenNames(t *testing.T) {
	h, err := readHeader(readGolden(t, "names"))
	if err != nil {
		t.Fatal(err)
	}
	shapes := map[string][]int{}
	for _, tensor := range h.Tensors {
		shapes[tensor.Name] = tensor.Shape
	}
	want := map[string][]int{
		"scalar":                   {},
		"empty":                    {0, 3},
		"":                         {1},
		`quote " back\slash / <&>`: {2},
		"grüße 世界 😀 \n\t\x00\x1f":  {3},
	}
	if !reflect.DeepEqual(shapes, want) {
		t.Errorf("got %v, want %v", shapes, want)
	}
	if h.Metadata != nil {
		t.Errorf("metadata %v, want none", h.Metadata)
	}
}

// TestLayoutIsReferenceBytes checks that the file begins with the very bytes
// that the reference implementation writes for the same tensors.
func TestLayoutIsReferenceBytes(t *testing.T) {
	for _, name := range golden {
		b := readGolden(t, name)
		h, err := readHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		shuffled := slices.Clone(h.Tensors)
		slices.Reverse(shuffled)
		got, head, err := safetensors.Layout(shuffled, h.Metadata)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(b, head) {
			t.Errorf("%s:\n got %q\nwant %q", name, head, b[:len(head)])
		}
		if !reflect.DeepEqual(got, h) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, h)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	dtypes := []array.DType{array.Bool, array.Int8, array.BFloat16, array.Float32, array.Complex64, array.Uint64}
	rapid.Check(t, func(t *rapid.T) {
		tensors := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) safetensors.Tensor {
			return safetensors.Tensor{
				Name:  rapid.String().Draw(t, "name"),
				DType: rapid.SampledFrom(dtypes).Draw(t, "dtype"),
				Shape: rapid.SliceOfN(rapid.IntRange(0, 4), 0, 3).Draw(t, "shape"),
			}
		}), 0, 8, func(t safetensors.Tensor) string { return t.Name }).Draw(t, "tensors")
		metadata := rapid.MapOfN(rapid.String(), rapid.String(), 0, 4).Draw(t, "metadata")

		want, head, err := safetensors.Layout(tensors, metadata)
		if err != nil {
			t.Fatal(err)
		}
		if len(head)%8 != 0 {
			t.Fatalf("data starts at %d, want a multiple of 8", len(head))
		}
		size := int64(len(head))
		for _, tensor := range want.Tensors {
			if tensor.Offset != size || tensor.Offset%int64(tensor.DType.Size()) != 0 {
				t.Fatalf("tensor %+v after byte %d", tensor, size)
			}
			size += tensor.Length
		}
		got, err := safetensors.ReadHeader(bytes.NewReader(append(head, make([]byte, size-int64(len(head)))...)), size)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("\n got %+v\nwant %+v", got, want)
		}
	})
}

// TestReadHeaderAccepts holds what the reference implementation accepts beyond
// what it writes.
func TestReadHeaderAccepts(t *testing.T) {
	for _, b := range [][]byte{
		file(`{}`, 0),
		file(" {}\n ", 0),
		file(`{"__metadata__":null}`, 0),
		file(`{"a":{"x":[{"y":[]},1],"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1),
		file(`{"a":{"x":{"]":"}\"","\\":-1.5e3},"y":true,"dtype":"U8","shape":[ 1 ],"data_offsets" : [0 ,1],"z":null},"__metadata__":{"]":"\\\""}}`, 1),
		file(`{"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 2),
		file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"e":{"dtype":"F32","shape":[0],"data_offsets":[1,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2),
		file(`{"\ud83d\ude00 \\ud800":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1),
	} {
		if _, err := readHeader(b); err != nil {
			t.Errorf("%q: %v", b, err)
		}
	}
}

func TestReadHeaderRefuses(t *testing.T) {
	u8 := tensor("U8", "[1]", 0, 1)
	tests := []struct {
		name string
		file []byte
		err  error
		text string
	}{
		{"too many dimensions", file(`{"a":`+tensor("U8", "["+strings.Repeat("1,", 128)+"1]", 0, 1)+"}", 1), fault.ErrUnsupported, "more than 128 dimensions"},
		{"no file", nil, fault.ErrCorrupt, "no header"},
		{"seven bytes", make([]byte, 7), fault.ErrCorrupt, "no header"},
		{"empty header", file("", 0), fault.ErrCorrupt, "not JSON"},
		{"header past the end", binary.LittleEndian.AppendUint64(nil, 2), fault.ErrCorrupt, "truncated"},
		{"huge header", binary.LittleEndian.AppendUint64(nil, math.MaxUint64), fault.ErrCorrupt, "at most 100000000"},
		{"Git LFS pointer", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"), fault.ErrIncomplete, "git lfs pull"},
		{"junk after header", file(`{}x`, 0), fault.ErrCorrupt, "not JSON"},
		{"no object", file(`[]`, 0), fault.ErrCorrupt, "[ where { was expected"},
		{"deep nesting", file(strings.Repeat("[", 1_000_000), 0), fault.ErrCorrupt, "not JSON"},
		{"bad UTF-8", file("{\"\xff\":"+u8+"}", 1), fault.ErrCorrupt, "UTF-8"},
		{"high surrogate", file(`{"\ud800":`+u8+`}`, 1), fault.ErrCorrupt, "surrogate"},
		{"low surrogate", file(`{"\udc00":`+u8+`}`, 1), fault.ErrCorrupt, "surrogate"},
		{"two high surrogates", file(`{"\ud800\ud800":`+u8+`}`, 1), fault.ErrCorrupt, "surrogate"},
		{"same name", file(`{"a":`+u8+`,"a":`+tensor("U8", "[1]", 1, 2)+`}`, 2), fault.ErrCorrupt, `"a" twice`},
		{"same name, escaped", file(`{"a":`+u8+`,"\u0061":`+tensor("U8", "[1]", 1, 2)+`}`, 2), fault.ErrCorrupt, `"a" twice`},
		{"same member", file(`{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}`, 1), fault.ErrCorrupt, `"dtype" is there twice`},
		{"two metadata", file(`{"__metadata__":{},"__metadata__":{}}`, 0), fault.ErrCorrupt, "twice"},
		{"same metadata", file(`{"__metadata__":{"a":"1","a":"2"}}`, 0), fault.ErrCorrupt, "twice"},
		{"metadata number", file(`{"__metadata__":{"a":1}}`, 0), fault.ErrCorrupt, "string was expected"},
		{"metadata list", file(`{"__metadata__":[]}`, 0), fault.ErrCorrupt, "not an object"},
		{"null tensor", file(`{"a":null}`, 0), fault.ErrCorrupt, "where { was expected"},
		{"no dtype", file(`{"a":{"DType":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), fault.ErrCorrupt, `"dtype" is missing`},
		{"no shape", file(`{"a":{"dtype":"U8","data_offsets":[0,1]}}`, 1), fault.ErrCorrupt, `"shape" is missing`},
		{"one offset", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}}`, 1), fault.ErrCorrupt, "has 1 numbers"},
		{"three offsets", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}`, 1), fault.ErrCorrupt, "more than two"},
		{"negative dimension", file(`{"a":`+tensor("U8", "[-1]", 0, 1)+`}`, 1), fault.ErrCorrupt, "-1 where a size"},
		{"fractional dimension", file(`{"a":`+tensor("U8", "[1.0]", 0, 1)+`}`, 1), fault.ErrCorrupt, "1.0 where a size"},
		{"string dimension", file(`{"a":`+tensor("U8", `["1"]`, 0, 1)+`}`, 1), fault.ErrCorrupt, `"1" where a size`},
		{"too many elements", file(`{"a":`+tensor("U8", "[4294967296,4294967296]", 0, 0)+`}`, 0), fault.ErrCorrupt, "too many elements"},
		{"too many bytes", file(`{"a":`+tensor("F64", "[4611686018427387904]", 0, 0)+`}`, 0), fault.ErrCorrupt, "too many bytes"},
		{"huge offset", file(`{"a":`+tensor("U8", "[1]", math.MaxUint64, 0)+`}`, 1), fault.ErrCorrupt, "where a size"},
		{"largest tensor", file(`{"a":`+tensor("U8", "[9223372036854775807]", 0, math.MaxInt64)+`}`, 1), fault.ErrCorrupt, "truncated"},
		{"length", file(`{"a":`+tensor("F32", "[2]", 0, 4)+`}`, 4), fault.ErrCorrupt, "takes 8 bytes"},
		{"backward offsets", file(`{"a":`+tensor("U8", "[1]", 1, 0)+`}`, 1), fault.ErrCorrupt, "[1, 0]"},
		{"hole at the start", file(`{"a":`+tensor("U8", "[1]", 1, 2)+`}`, 2), fault.ErrCorrupt, "starts at data offset 1"},
		{"overlap", file(`{"a":`+u8+`,"b":`+u8+`}`, 1), fault.ErrCorrupt, `"b" starts at data offset 0, the one before it ends at 1`},
		{"empty inside another", file(`{"a":`+tensor("F32", "[1]", 0, 4)+`,"e":`+tensor("F32", "[0]", 2, 2)+`}`, 4), fault.ErrCorrupt, `"e" starts`},
		{"truncated data", file(`{"a":`+tensor("U8", "[2]", 0, 2)+`}`, 1), fault.ErrCorrupt, "the file is truncated"},
		{"trailing data", file(`{"a":`+u8+`}`, 2), fault.ErrCorrupt, "describes 1 bytes of data, the file has 2"},
		{"unknown dtype, backward offsets", file(`{"a":`+tensor("u8", "[1]", 1, 0)+`}`, 1), fault.ErrCorrupt, "[1, 0]"},
		{"unknown dtype, truncated", file(`{"a":`+tensor("u8", "[1]", 0, 2)+`}`, 1), fault.ErrCorrupt, "the file is truncated"},
		{"packed dtype, within a byte", file(`{"a":`+tensor("F4", "[3]", 0, 2)+`}`, 2), fault.ErrCorrupt, "within a byte"},
		{"packed dtype, length", file(`{"a":`+tensor("F6_E2M3", "[4]", 0, 4)+`}`, 4), fault.ErrCorrupt, "takes 3 bytes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := readHeader(test.file)
			if !errors.Is(err, test.err) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("error %v, want %v with %q", err, test.err, test.text)
			}
		})
	}
}

func TestReadHeaderTruncated(t *testing.T) {
	b := readGolden(t, "names")
	for n := range b {
		if _, err := readHeader(b[:n]); !errors.Is(err, fault.ErrCorrupt) {
			t.Fatalf("%d of %d bytes: %v", n, len(b), err)
		}
		// The file may also turn out shorter than its size said.
		h, err := safetensors.ReadHeader(bytes.NewReader(b[:n]), int64(len(b)))
		if err == nil && int64(n) >= h.Tensors[0].Offset {
			continue
		}
		if !errors.Is(err, fault.ErrCorrupt) {
			t.Fatalf("%d of %d bytes, silently: %v", n, len(b), err)
		}
	}
}

func TestReadHeaderReadError(t *testing.T) {
	broken := errors.New("broken disk")
	_, err := safetensors.ReadHeader(readerAt{iotest.ErrReader(broken)}, 100)
	if !errors.Is(err, broken) || errors.Is(err, fault.ErrCorrupt) {
		t.Errorf("error %v", err)
	}
}

type readerAt struct {
	r interface{ Read([]byte) (int, error) }
}

func (r readerAt) ReadAt(b []byte, _ int64) (int, error) { return r.r.Read(b) }

func TestLayoutRefuses(t *testing.T) {
	type T = safetensors.Tensor
	tests := []struct {
		name     string
		tensors  []T
		metadata map[string]string
		err      error
		text     string
	}{
		{"dtype", []T{{Name: "w", DType: array.Int4}}, nil, fault.ErrDType, `tensor "w": dtype mismatch: safetensors has no int4: cast it to int8`},
		{"complex", []T{{Name: "w", DType: array.Complex128}}, nil, fault.ErrDType, "cast it to complex64"},
		{"float4", []T{{Name: "w", DType: array.Float4E2M1FN}}, nil, fault.ErrDType, "cast it to bfloat16"},
		{"no dtype", []T{{Name: "w"}}, nil, fault.ErrDType, "invalid is not an element type"},
		{"name twice", []T{{Name: "w", DType: array.Int8}, {Name: "w", DType: array.Int8}}, nil, fault.ErrKeyCollision, `"w"`},
		{"reserved", []T{{Name: "__metadata__", DType: array.Int8}}, nil, fault.ErrReservedName, "rename"},
		{"name not UTF-8", []T{{Name: "\xff", DType: array.Int8}}, nil, fault.ErrReservedName, "UTF-8"},
		{"metadata not UTF-8", nil, map[string]string{"k": "\xff"}, fault.ErrReservedName, "UTF-8"},
		{"negative", []T{{Name: "w", DType: array.Int8, Shape: []int{-1}}}, nil, fault.ErrShape, `tensor "w"`},
		{"too many dimensions", []T{{Name: "w", DType: array.Int8, Shape: slices.Repeat([]int{1}, 129)}}, nil, fault.ErrShape, `tensor "w": 129 dimensions`},
		{"too large", []T{{Name: "w", DType: array.Int16, Shape: []int{math.MaxInt}}}, nil, fault.ErrShape, "too many bytes"},
		{"too large together", []T{{Name: "v", DType: array.Int8, Shape: []int{math.MaxInt}}, {Name: "w", DType: array.Int8, Shape: []int{1}}}, nil, fault.ErrShape, `tensor "w": the file is too large`},
		{"too large with header", []T{{Name: "w", DType: array.Int8, Shape: []int{math.MaxInt}}}, nil, fault.ErrShape, "file is too large"},
		{"header too large", nil, map[string]string{"k": strings.Repeat("x", 100_000_001)}, fault.ErrUnsupported, "split"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := safetensors.Layout(test.tensors, test.metadata)
			if !errors.Is(err, test.err) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("error %v, want %v with %q", err, test.err, test.text)
			}
		})
	}
}

func TestLayoutKeepsArguments(t *testing.T) {
	tensors := []safetensors.Tensor{
		{Name: "a", DType: array.Int8, Shape: []int{3}},
		{Name: "b", DType: array.Float64, Shape: []int{2}},
	}
	h, _, err := safetensors.Layout(tensors, nil)
	if err != nil {
		t.Fatal(err)
	}
	h.Tensors[0].Shape[0] = 99
	if tensors[0].Name != "a" || tensors[0].Length != 0 || tensors[1].Shape[0] != 2 {
		t.Errorf("arguments changed: %+v", tensors)
	}
}

func FuzzReadHeader(f *testing.F) {
	for _, name := range golden {
		f.Add(readGolden(f, name))
	}
	f.Add(file(`{"a":{"x":[{"y":[]}],"dtype":"F32","shape":[0],"data_offsets":[0,0]},"\ud83d\ude00":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}`, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readHeader(b)
		if err != nil {
			return
		}
		end := int64(-1)
		for _, tensor := range h.Tensors {
			if end >= 0 && tensor.Offset != end {
				t.Fatalf("tensor %+v after byte %d", tensor, end)
			}
			end = tensor.Offset + tensor.Length
		}
		if end >= 0 && end != int64(len(b)) {
			t.Fatalf("tensors end at %d of %d", end, len(b))
		}
		if _, _, err := safetensors.Layout(h.Tensors, h.Metadata); err != nil {
			t.Fatalf("cannot write what was read: %v", err)
		}
	})
}
