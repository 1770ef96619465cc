package zarr

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// fillDocument is the document of an array of one element.
func fillDocument(format int, d array.DType, name, value string) []byte {
	if format == 2 {
		return fmt.Appendf(nil, `{"chunks":[1],"compressor":null,"dtype":%q,"fill_value":%s,`+
			`"filters":null,"order":"C","shape":[1],"zarr_format":2}`, name, value)
	}
	endian := ""
	if d.Size() > 1 {
		endian = `,"configuration":{"endian":"little"}`
	}
	return fmt.Appendf(nil, `{"chunk_grid":{"configuration":{"chunk_shape":[1]},"name":"regular"},`+
		`"chunk_key_encoding":{"name":"default"},"codecs":[{"name":"bytes"%s}],"data_type":%q,`+
		`"fill_value":%s,"node_type":"array","shape":[1],"zarr_format":3}`, endian, name, value)
}

// Every spelling of a fill value means what it means to the real TensorStore, and
// what that does not read is an error; see testdata/gen_fill.py.
func TestFillIsTensorStores(t *testing.T) {
	var golden []struct {
		Format      int
		DType, Name string
		Fill        map[string]*string
	}
	loadJSON(t, "fill.json.gz", &golden)
	for _, g := range golden {
		d, err := array.ParseDType(g.DType)
		if err != nil {
			t.Fatal(err)
		}
		for value, want := range g.Fill {
			m, err := Parse(g.Format, fillDocument(g.Format, d, g.Name, value))
			if want == nil {
				if !errors.Is(err, fault.ErrCorrupt) {
					t.Errorf("zarr%d %s %s: %v, TensorStore refuses it", g.Format, g.Name, value, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("zarr%d %s %s: %v", g.Format, g.Name, value, err)
				continue
			}
			element, err := hex.DecodeString(*want)
			if err != nil {
				t.Fatal(err)
			}
			array.Canonicalize(d, element) // TensorStore lets more bits of a float4 through
			got := make([]byte, 5*d.Size())
			m.Fill(got)
			if !bytes.Equal(got, bytes.Repeat(element, 5)) {
				t.Errorf("zarr%d %s %s: % x, want % x", g.Format, g.Name, value, got[:d.Size()], element)
			}
		}
	}
}

func FuzzFill(f *testing.F) {
	for _, s := range []string{"0", "-0", "1e400", `"NaN"`, `"0x7fc0"`, `"1.5"`, `"AA=="`, "[1,2]", `["NaN",1]`, "null", "true"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		if !json.Valid(value) {
			return
		}
		for d := array.Bool; d <= array.Complex128; d++ {
			for format, name := range map[int]string{2: name2(d), 3: d.String()} {
				m, err := Parse(format, fillDocument(format, d, name, string(value)))
				if err != nil {
					continue
				}
				got := make([]byte, 3*d.Size())
				m.Fill(got)
				if err := Finish(d, got); err != nil {
					t.Fatalf("zarr%d %s %s: % x, %v", format, name, value, got, err)
				}
			}
		}
	})
}
