package convert_test

import (
	"os"
	"reflect"
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/convert"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/safetensors"
)

// TestEntriesBesideList imports a file whose custom metadata are a list, to which another
// program has added an entry.
func TestEntriesBesideList(t *testing.T) {
	t.Chdir(t.TempDir())
	_, head, err := safetensors.Layout([]safetensors.Tensor{{Name: "w", DType: array.Float32, Shape: []int{1}}},
		map[string]string{convert.Entry: `{"version":1,"custom":[1,2]}`, "format": "pt"})
	orbaxtest.Must(t, err)
	orbaxtest.Must(t, os.WriteFile("in.safetensors", append(head, 0, 0, 0, 0), 0o666))
	report, err := convert.FromSafetensors(t.Context(), "in.safetensors", "ck", convert.Options{})
	orbaxtest.Must(t, err)
	if !reflect.DeepEqual(report.Dropped, []string{"format"}) {
		t.Errorf("dropped: %q, want format", report.Dropped)
	}
	m, err := orbax.Metadata(t.Context(), "ck")
	if err != nil || !reflect.DeepEqual(m.Custom, []any{1, 2}) {
		t.Errorf("custom metadata %v, %v", m.Custom, err)
	}
}
