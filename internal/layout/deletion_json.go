package layout

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/go-orbax/orbax/internal/fault"
)

// dumpsJSON returns a value from decodeNumbers in the bytes of Python's
// json.dumps(json.loads(doc), sort_keys=True).
func dumpsJSON(v any) string {
	var b strings.Builder
	writePython(&b, v)
	return b.String()
}

func writePython(b *strings.Builder, v any) {
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case string:
		quotePython(b, v)
	case json.Number:
		b.WriteString(pythonNumber(v))
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			writePython(b, e)
		}
		b.WriteByte(']')
	case map[string]any:
		b.WriteByte('{')
		// The order of UTF-8 bytes is the order of characters, by which Python sorts.
		for i, k := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b.WriteString(", ")
			}
			quotePython(b, k)
			b.WriteString(": ")
			writePython(b, v[k])
		}
		b.WriteByte('}')
	}
}

// pythonNumber returns a number as Python prints it after reading it.
func pythonNumber(n json.Number) string {
	s := string(n)
	switch {
	case s == nan:
		return "NaN"
	case s == "-0":
		return "0"
	case !strings.ContainsAny(s, ".eE"):
		return s // an integer of any size
	}
	f, _ := strconv.ParseFloat(s, 64) // ±Inf if out of range, as in Python
	if math.IsInf(f, 0) {
		return strings.TrimPrefix(strconv.FormatFloat(f, 'f', -1, 64), "+") + "inity"
	}
	e := strconv.FormatFloat(f, 'e', -1, 64)
	exponent, _ := strconv.Atoi(e[strings.IndexByte(e, 'e')+1:])
	if exponent < -4 || exponent >= 16 {
		return e
	}
	s = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// quotePython writes a string in ASCII.
func quotePython(b *strings.Builder, s string) {
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r >= ' ' && r <= '~':
			b.WriteRune(r)
		case strings.ContainsRune("\b\f\n\r\t", r):
			b.WriteByte('\\')
			b.WriteByte("bfnrt"[strings.IndexRune("\b\f\n\r\t", r)])
		case r >= 0x10000:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
}

// CheckExact refuses a document that decoding and encoding would change: Python keeps
// half of a surrogate pair in a string, which Go's strings cannot hold.
func CheckExact(doc []byte) error {
	unit := func(at int) rune { // value of the escape at a position, or -1
		var b [2]byte
		if at+6 > len(doc) || doc[at] != '\\' || doc[at+1] != 'u' {
			return -1
		}
		if _, err := hex.Decode(b[:], doc[at+2:at+6]); err != nil {
			return -1
		}
		return rune(b[0])<<8 | rune(b[1])
	}
	for i := 0; i < len(doc); i++ {
		if doc[i] != '\\' {
			continue
		}
		switch r := unit(i); {
		case r >= 0 && utf16.IsSurrogate(r) && utf16.DecodeRune(r, unit(i+6)) == '\uFFFD':
			return fmt.Errorf("%w: the document has %s, half of a character, in a string", fault.ErrUnsupported, doc[i:i+6])
		case r >= 0 && utf16.IsSurrogate(r):
			i += 11
		default:
			i++ // the escaped character
		}
	}
	return nil
}
