package inspect

import (
	"bufio"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
)

// Escaper is a writer that replaces characters that could control a terminal or mislead
// its reader. The names in a checkpoint are chosen by its writer, and any message may
// contain one. The caller flushes it at the end.
type Escaper struct {
	w       io.Writer
	asJSON  bool
	pending []byte // the beginning of a rune
	err     error  // the first of w, which all later calls return
}

// ForTerminal returns a writer of text for people, which escapes as [fault.Escape] does.
func ForTerminal(w io.Writer) *Escaper { return &Escaper{w: w} }

// ForJSON returns a writer of JSON documents, which writes the same characters as JSON
// escapes.
func ForJSON(w io.Writer) *Escaper { return &Escaper{w: w, asJSON: true} }

// AsIs returns the writer below all writers that escape.
func AsIs(w io.Writer) io.Writer {
	for {
		e, ok := w.(*Escaper)
		if !ok {
			return w
		}
		w = e.w
	}
}

func (e *Escaper) Write(p []byte) (int, error) {
	in := append(e.pending, p...)
	out := make([]byte, 0, len(in))
	for len(in) > 0 && utf8.FullRune(in) {
		r, n := utf8.DecodeRune(in)
		out = e.append(out, r, string(in[:n]))
		in = in[n:]
	}
	e.pending = append([]byte(nil), in...)
	if err := e.write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush writes the bytes of a rune that is incomplete. Its error is the first of all
// writes, so a caller that flushes at the end may ignore the errors of Write.
func (e *Escaper) Flush() error {
	var out []byte
	for _, b := range e.pending {
		out = e.append(out, utf8.RuneError, string([]byte{b}))
	}
	e.pending = nil
	return e.write(out)
}

// write writes to the writer below, unless there is nothing to write or a write has
// failed.
func (e *Escaper) write(out []byte) error {
	if e.err == nil && len(out) > 0 {
		_, e.err = e.w.Write(out)
	}
	return e.err
}

func (e *Escaper) append(out []byte, r rune, text string) []byte {
	switch {
	case !e.asJSON:
		return fault.Escape(out, r, text)
	case r == utf8.RuneError && len(text) == 1:
		return append(out, `\ufffd`...)
	case r == '\n' || r == '\t' || !fault.Acts(r):
		return append(out, text...)
	case r > 0xffff:
		high, low := utf16.EncodeRune(r)
		return fmt.Appendf(out, `\u%04x\u%04x`, high, low)
	}
	return fmt.Appendf(out, `\u%04x`, r)
}

// WriteJSON writes v as an indented document.
func WriteJSON(w io.Writer, v any) error {
	doc, err := layout.EncodeJSON(v)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(ForJSON(w))
	writeIndented(b, doc)
	b.WriteByte('\n')
	return b.Flush()
}
