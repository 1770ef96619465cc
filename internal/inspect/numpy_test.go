package inspect

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/go-orbax/orbax/array"
)

// TestPrintsAsNumPy compares printed arrays with the output of NumPy; see
// testdata/printed.py.
func TestPrintsAsNumPy(t *testing.T) {
	text, err := os.ReadFile("testdata/printed.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		DType, Data, Text string
		Shape             []int
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		d, err := array.ParseDType(c.DType)
		if err != nil {
			t.Fatal(err)
		}
		data, err := hex.DecodeString(c.Data)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		w := bufio.NewWriter(&got)
		p := &printer{w: w, shape: c.Shape, elements: newElements(t.Context(), d, bytes.NewReader(data), int64(len(data)))}
		if err := p.print(); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		if got.String() != c.Text {
			t.Errorf("%s %v:\n%s\nNumPy:\n%s", c.DType, c.Shape, got.String(), c.Text)
		}
	}
}
