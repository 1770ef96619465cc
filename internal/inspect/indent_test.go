package inspect

import (
	"bufio"
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func indented(t *testing.T, doc string) string {
	t.Helper()
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	writeIndented(w, []byte(doc))
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Documents of ordinary depth are indented as package json does it.
func TestWriteIndented(t *testing.T) {
	for _, doc := range []string{
		`1`, `"a"`, `[]`, `{}`, `[[]]`, `{"a":{}}`, `[1,2]`, `[1,[2,{"a":[]}],{}]`, ` { "a" : [ 1 , 2 ] , "b" : null } `,
		`{"\"{[,":"]}\\","c\\":["\\\"",-1e5,true,false,null]}`, "[\n1,\r\n\t2]", `[[],[],{"a":1},[{}]]`,
		strings.Repeat("[", maxIndent) + "1,2" + strings.Repeat("]", maxIndent),
		strings.Repeat(`{"k":`, maxIndent) + "[]" + strings.Repeat("}", maxIndent),
	} {
		var want bytes.Buffer
		if err := json.Indent(&want, []byte(doc), "", "  "); err != nil {
			t.Fatal(err)
		}
		// White space around the value is left out.
		if got := indented(t, doc); got != strings.TrimSpace(want.String()) {
			t.Errorf("%s:\n%s\nwant\n%s", doc, got, want.String())
		}
	}
}

// The indentation of deeply nested values takes no more space than their text.
func TestWriteIndentedDeep(t *testing.T) {
	for name, doc := range map[string]string{
		"lists":   strings.Repeat("[", 9_000) + strings.Repeat("1,", 100_000) + "1" + strings.Repeat("]", 9_000),
		"objects": strings.Repeat(`{"k":[],"v":`, 9_000) + `{"a":1,"b":[2,3]}` + strings.Repeat("}", 9_000),
	} {
		got := indented(t, doc)
		if len(got) > 2*len(doc)+4*maxIndent*maxIndent {
			t.Errorf("%s: %d bytes of %d", name, len(got), len(doc))
		}
		var back bytes.Buffer
		if err := json.Compact(&back, []byte(got)); err != nil || back.String() != doc {
			t.Errorf("%s: another document, %v", name, err)
		}
	}
}
