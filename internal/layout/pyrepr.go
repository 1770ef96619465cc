package layout

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/go-orbax/orbax/tree"
)

// pyTuple returns Python's repr of the tuple of a path's keys, which Orbax uses
// as the name of a leaf's entry in _METADATA and parses again when it merges
// partial saves.
func pyTuple(p tree.Path) string {
	var b strings.Builder
	b.WriteByte('(')
	for i, k := range p {
		if i > 0 {
			b.WriteString(", ")
		}
		pyString(&b, k.Name)
	}
	if len(p) == 1 {
		b.WriteByte(',')
	}
	b.WriteByte(')')
	return b.String()
}

// pyString writes Python's repr of a string: single quotes unless the string
// has some and no double quotes; escapes for what is not printable.
func pyString(b *strings.Builder, s string) {
	quote := '\''
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	b.WriteRune(quote)
	for _, r := range s {
		switch {
		case r == quote || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			fmt.Fprintf(b, `\U%08x`, r)
		}
	}
	b.WriteRune(quote)
}
