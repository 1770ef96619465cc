package layout

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-orbax/orbax/tree"
)

// appendTuple appends Python's repr of the tuple of a path's keys. Orbax uses it as the
// name of a leaf's entry in _METADATA, and parses it again when it merges partial saves.
func appendTuple(b []byte, p tree.Path) []byte {
	b = append(b, '(')
	for i, k := range p {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = appendRepr(b, k.Name)
	}
	if len(p) == 1 {
		b = append(b, ',')
	}
	return append(b, ')')
}

// appendRepr appends Python's repr of a string. It uses single quotes, unless the string
// has single quotes and no double quotes, and escapes characters that do not print.
func appendRepr(b []byte, s string) []byte {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	b = append(b, quote)
	for _, r := range s {
		switch {
		case r == rune(quote) || r == '\\':
			b = append(b, '\\', byte(r))
		case ' ' <= r && r <= '~':
			b = append(b, byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case unicode.IsPrint(r):
			b = utf8.AppendRune(b, r)
		case r < 0x100:
			b = fmt.Appendf(b, `\x%02x`, r)
		case r < 0x10000:
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = fmt.Appendf(b, `\U%08x`, r)
		}
	}
	return append(b, quote)
}
