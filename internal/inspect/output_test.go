package inspect

import (
	"bytes"
	"fmt"
	"testing"
)

// TestEscaperJoinsRunes writes a text byte by byte.
func TestEscaperJoinsRunes(t *testing.T) {
	text := "größe \u009b 😀 \U000e0041 \x9b end \xf0\x9f"
	var whole, bytewise bytes.Buffer
	e := ForTerminal(&whole)
	fmt.Fprint(e, text)
	e.Flush()
	e = ForTerminal(&bytewise)
	for i := range len(text) {
		fmt.Fprint(e, text[i:i+1])
	}
	e.Flush()
	const want = `größe \u009b 😀 \U000e0041 \x9b end \xf0\x9f`
	if whole.String() != want || bytewise.String() != want {
		t.Errorf("got %q and %q, want %q", whole.String(), bytewise.String(), want)
	}
}
