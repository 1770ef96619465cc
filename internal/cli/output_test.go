package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestEscapedJSON wants the same values of a document whose characters were escaped.
func TestEscapedJSON(t *testing.T) {
	want := strings.Join(hostileNames, "") + "größe 😀 \x00\xff"
	var b bytes.Buffer
	if err := writeJSON(&b, map[string]string{"v": want}); err != nil {
		t.Fatal(err)
	}
	if found := acting(b.Bytes()); len(found) > 0 {
		t.Errorf("%q has %v", b.Bytes(), found)
	}
	var got map[string]string
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if want = strings.ToValidUTF8(want, "\ufffd"); got["v"] != want {
		t.Errorf("got %q, want %q", got["v"], want)
	}
}

// TestEscaperJoinsRunes writes a text byte by byte.
func TestEscaperJoinsRunes(t *testing.T) {
	text := "größe \u009b 😀 \U000e0041 \x9b end \xf0\x9f"
	var whole, bytewise bytes.Buffer
	e := forTerminal(&whole)
	fmt.Fprint(e, text)
	e.Flush()
	e = forTerminal(&bytewise)
	for i := range len(text) {
		fmt.Fprint(e, text[i:i+1])
	}
	e.Flush()
	const want = `größe \u009b 😀 \U000e0041 \x9b end \xf0\x9f`
	if whole.String() != want || bytewise.String() != want {
		t.Errorf("got %q and %q, want %q", whole.String(), bytewise.String(), want)
	}
}
