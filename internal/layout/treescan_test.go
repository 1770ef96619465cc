package layout

import (
	"reflect"
	"strings"
	"testing"
)

// Documents that are valid, but not as they are written, are left to encoding/json.
func TestOtherForms(t *testing.T) {
	const (
		entry = `"('a',)": {"key_metadata": [{"key": "a", "key_type": 2}], "value_metadata": {"value_type": "scalar", "skip_deserialize": false}}`
		other = `"('a',)": {"key_metadata": [{"key": "b", "key_type": 2}], "value_metadata": {"value_type": "scalar", "skip_deserialize": false}}`
		next  = `"('0',)": {"key_metadata": [{"key": "0", "key_type": 1}], "value_metadata": {"value_type": "scalar", "skip_deserialize": false}}`
	)
	for name, doc := range map[string]string{
		"an entry twice":          `{"tree_metadata": {` + entry + `, ` + next + `, ` + other + `}}`,
		"an escaped entry twice":  `{"tree_metadata": {` + entry + `, ` + strings.Replace(other, "a", `\u0061`, 1) + `}}`,
		"a member twice":          `{"tree_metadata": {` + entry + `}, "use_zarr3": true, "use_zarr3": false}`,
		"a key's member twice":    `{"tree_metadata": {` + strings.Replace(entry, `"key": "a"`, `"key": "b", "key": "a"`, 1) + `}}`,
		"another case":            `{"tree_metadata": {` + entry + `}, "USE_ZARR3": true}`,
		"an unknown member":       `{"tree_metadata": {` + entry + `}, "custom": [1, {}]}`,
		"custom metadata":         `{"tree_metadata": {` + entry + `}, "custom_metadata": {"a": 1}}`,
		"null":                    `{"tree_metadata": {` + entry + `}, "use_ocdbt": null}`,
		"a number for a key":      `{"tree_metadata": {` + strings.Replace(entry, `"key": "a"`, `"key": 1`, 1) + `}}`,
		"a key without a name":    `{"tree_metadata": {` + strings.Replace(entry, `"key_metadata"`, `"no_keys"`, 1) + `}}`,
		"a null shape":            `{"tree_metadata": {` + strings.Replace(entry, `"skip`, `"write_shape": null, "skip`, 1) + `}}`,
		"an exponent in a number": `{"tree_metadata": {` + strings.Replace(entry, `"key_type": 2`, `"key_type": 2e0`, 1) + `}}`,
	} {
		t.Run(name, func(t *testing.T) {
			if m, _, ok := scanTree([]byte(doc)); ok {
				t.Errorf("was read as %+v", m)
			}
			want, _, wantErr := decodeTree([]byte(doc))
			got, err := ParseTree([]byte(doc))
			if (err == nil) != (wantErr == nil) || err == nil && !reflect.DeepEqual(byDocument(got), byDocument(want)) {
				t.Errorf("%+v, %v; want %+v, %v", got, err, want, wantErr)
			}
		})
	}
	// As they are written, in whatever order.
	for name, doc := range map[string]string{
		"unsorted": `{"use_zarr3": true, "tree_metadata": {` + entry + `,` + next + `}}`,
		"spaced":   "\n{ \"tree_metadata\" : {\t" + entry + " } }\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, ok := scanTree([]byte(doc)); !ok {
				t.Error("is left to encoding/json")
			}
		})
	}
}
