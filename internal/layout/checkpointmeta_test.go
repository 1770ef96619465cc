package layout

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
)

// Merged metadata is what Orbax makes of it, every number as it was spelled.
func TestMerge(t *testing.T) {
	var m CheckpointMetadata
	for _, doc := range []string{
		`{"init_timestamp_nsecs": 5, "custom_metadata": {"a": 1.0, "of": {"x": 1, "l": [1, 2]}, "big": 1180591620717411303424}}`,
		``,
		`{"init_timestamp_nsecs": 3, "custom_metadata": {"a": 2, "of": {"y": 1e-05, "l": [3]}}, "other": {"z": 1.50}}`,
		`{"init_timestamp_nsecs": null, "custom_metadata": {"of": {"x": {"deep": true}}, "words": {"a": NaN, "b": [-Infinity, "NaN", 7e-7], "c": 1e999}}}`,
	} {
		if err := m.Merge([]byte(doc)); err != nil {
			t.Fatalf("%s: %v", doc, err)
		}
	}
	doc, err := m.Document()
	if err != nil {
		t.Fatal(err)
	}
	want := `"custom_metadata":{"a":2,"big":1180591620717411303424,"of":{"l":[3],"x":{"deep":true},"y":1e-05},"other":{"z":1.50},"words":{"a":NaN,"b":[-Infinity,"NaN",7e-7],"c":Infinity}}`
	if !m.InitTime.Equal(time.Unix(0, 3)) || !strings.Contains(string(doc), want) {
		t.Errorf("%s\nwant %s", doc, want)
	}
	for doc, want := range map[string]error{
		`{"custom_metadata": {"a": "\ud800"}}`:        fault.ErrUnsupported,
		`{"custom_metadata": {"orbax_go_list": [1]}}`: fault.ErrUnsupported,
		`{"custom_metadata": [1]}`:                    fault.ErrCorrupt,
		`{"init_timestamp_nsecs": "x"}`:               fault.ErrCorrupt,
		`[`:                                           fault.ErrCorrupt,
	} {
		if err := m.Merge([]byte(doc)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", doc, err, want)
		}
	}
}
