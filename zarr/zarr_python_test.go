package zarr

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
)

// What the Zarr project's own library writes is read, or refused by name; see
// testdata/gen_zarr_python.py.
func TestZarrPython(t *testing.T) {
	var arrays []struct {
		golden
		Refused string
	}
	loadJSON(t, "zarr_python.json.gz", &arrays)
	for _, g := range arrays {
		t.Run(g.Name, func(t *testing.T) {
			m, err := Parse(g.Format, []byte(g.Document))
			if g.Refused != "" {
				if !errors.Is(err, fault.ErrUnsupported) || !strings.Contains(err.Error(), `"`+g.Refused+`"`) {
					t.Errorf("%v, want one about %q", err, g.Refused)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, g.Document)
			}
			if m.DType.String() != g.DType {
				t.Errorf("dtype %v, want %s", m.DType, g.DType)
			}
			got, err := readBox(m, g.Chunks, make([]int, len(g.Shape)), g.Shape, true)
			if err != nil || !bytes.Equal(got, g.Want) {
				t.Errorf("got  %x, %v\nwant %x", got, err, g.Want)
			}
		})
	}
}
