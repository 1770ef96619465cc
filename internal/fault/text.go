package fault

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Shown returns a name from a checkpoint in a form for messages. It quotes the name, as
// in Go, if the name is empty, has characters that do not print, or begins or ends with a
// space. The writer of the checkpoint chose the name, and the message may go to a
// terminal or a log, where a line end or an escape sequence would mislead.
func Shown(name string) string {
	odd := func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }
	if name == "" || strings.ContainsFunc(name, odd) || strings.TrimSpace(name) != name {
		return strconv.Quote(name)
	}
	return name
}

// MaxListed is the largest number of names that a message lists.
const MaxListed = 8

// List returns names as a message lists them: each as by [Shown], and if there are many,
// the number of all in place of the last ones.
func List(names []string) string {
	shown := make([]string, min(len(names), MaxListed))
	for i := range shown {
		shown[i] = Shown(names[i])
	}
	list := strings.Join(shown, ", ")
	if len(names) > MaxListed {
		list = fmt.Sprintf("%s … (%d in all)", list, len(names))
	}
	return list
}

// Size returns a number of bytes in the format of messages, reports and tables: "512 B",
// "1.5 GiB".
func Size(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	f := float64(n)
	unit := 0
	for f >= 1023.95 && unit < 6 {
		f /= 1024
		unit++
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + " " + "BKMGTPE"[unit:unit+1] + "iB"
}

// Printable returns a message without characters that could control a terminal or forge a
// line of a log, and without the credentials of URLs. It replaces the characters that
// [Escape] replaces, and indents the text after line ends.
func Printable(message string) string {
	message = Redacted(message)
	var b []byte
	for i := 0; i < len(message); {
		r, n := utf8.DecodeRuneInString(message[i:])
		b = Escape(b, r, message[i:i+n])
		if r == '\n' {
			b = append(b, '\t')
		}
		i += n
	}
	return string(b)
}

// Escape appends the character r, whose encoding is text. It appends an escape of Go for
// a control character other than a line end or a tab, for a character that is invisible
// or changes the direction of text, and for a byte that is not UTF-8.
func Escape(to []byte, r rune, text string) []byte {
	switch {
	case r == utf8.RuneError && len(text) == 1:
		return fmt.Appendf(to, `\x%02x`, text[0])
	case r == '\n' || r == '\t' || !Acts(r):
		return append(to, text...)
	case r < 0x80:
		return fmt.Appendf(to, `\x%02x`, r)
	case r > 0xffff:
		return fmt.Appendf(to, `\U%08x`, r)
	}
	return fmt.Appendf(to, `\u%04x`, r)
}

// Acts reports whether a character controls the display instead of showing: control
// characters, characters that change the direction of text, and line separators.
func Acts(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) }
