// Package jsonscan reads JSON documents whose form the caller knows, several times as
// fast as package encoding/json. The documents of a tree have the same few members for
// each of its leaves.
//
// A [Scanner] goes through a document from front to back. If the document does not have
// the form that the caller asks for, the Scanner fails for good, and returns zeros from
// then on. It does not report the fault, and refuses many valid documents. If
// [Scanner.Done] returns false, the caller parses the document with encoding/json, which
// accepts it or reports its fault.
//
//	s := jsonscan.New(doc) // {"sizes": [1, 2]}
//	for s.Begin('{'); s.Next('}'); {
//		switch string(s.Name()) {
//		case "sizes":
//			sizes = s.AppendInts(sizes)
//		default:
//			s.Fail()
//		}
//	}
//	if !s.Done() { … }
package jsonscan

import (
	"encoding/json"
	"unicode/utf8"
)

// Scanner reads one document. The zero value reads an empty document, which is not valid.
type Scanner struct {
	doc   []byte
	at    int
	first bool // nothing of the innermost list has been read
	bad   bool
}

// New returns a [Scanner] of doc, which must not change while it is read. The Scanner
// fails if doc is not UTF-8.
func New(doc []byte) *Scanner { return &Scanner{doc: doc, bad: !utf8.Valid(doc)} }

// Fail makes the Scanner fail: the document does not have the form that the caller knows.
func (s *Scanner) Fail() { s.bad = true }

// Done reports whether the document had the form that was read, and was read to its end.
func (s *Scanner) Done() bool { return !s.bad && s.peek() == 0 && s.at == len(s.doc) }

// Begin enters a list: an array with open '[', an object with '{'.
func (s *Scanner) Begin(open byte) {
	s.take(open)
	s.first = true
}

// Next reports whether the list has another item, which the caller must then read.
// Otherwise it leaves the list: an array with end ']', an object with '}'.
func (s *Scanner) Next(end byte) bool {
	c := s.peek()
	switch {
	case s.bad:
		return false
	case c == end:
		s.at++
		s.first = false
		return false
	case s.first:
		s.first = false
		return true
	}
	return s.take(',')
}

// Name reads the name of an object's member, like [Scanner.Text].
func (s *Scanner) Name() []byte {
	name := s.Text()
	s.take(':')
	return name
}

// Text reads a string. The result may alias the document.
func (s *Scanner) Text() []byte {
	spelled, escapes := s.literal()
	switch {
	case s.bad:
		return nil
	case !escapes:
		return spelled[1 : len(spelled)-1]
	}
	var text string
	if json.Unmarshal(spelled, &text) != nil {
		s.bad = true
	}
	return []byte(text)
}

// Literal reads a string and returns it as the document spells it, in quotes. The result
// aliases the document. Literal does not check escapes.
func (s *Scanner) Literal() []byte {
	spelled, _ := s.literal()
	return spelled
}

func (s *Scanner) literal() (spelled []byte, escapes bool) {
	if !s.take('"') {
		return nil, false
	}
	doc, begin := s.doc, s.at-1
	for i := s.at; i < len(doc); i++ {
		switch c := doc[i]; {
		case c > '\\': // as most characters are
		case c == '"':
			s.at = i + 1
			return doc[begin:s.at:s.at], escapes
		case c == '\\':
			escapes = true
			i++
		case c < ' ':
			s.bad = true
			return nil, false
		}
	}
	s.bad = true
	return nil, false
}

// maxDigits is the number of digits that always fit in an int.
const maxDigits = 18

// Int reads an integer that is spelled without a fraction and an exponent.
func (s *Scanner) Int() int {
	negative := s.peek() == '-'
	if negative {
		s.at++
	}
	n, begin := 0, s.at
	for ; s.at < len(s.doc) && '0' <= s.doc[s.at] && s.doc[s.at] <= '9' && s.at-begin < maxDigits; s.at++ {
		n = n*10 + int(s.doc[s.at]-'0')
	}
	switch digits := s.doc[begin:s.at]; {
	case len(digits) == 0 || len(digits) > 1 && digits[0] == '0':
		s.bad = true
	case s.at < len(s.doc) && isNumber(s.doc[s.at]):
		s.bad = true
	}
	switch {
	case s.bad:
		return 0
	case negative:
		return -n
	}
	return n
}

// isNumber reports whether c can continue a number.
func isNumber(c byte) bool {
	return '0' <= c && c <= '9' || c == '.' || c == 'e' || c == 'E'
}

// AppendInts reads an array of integers and appends them to list.
func (s *Scanner) AppendInts(list []int) []int {
	for s.Begin('['); s.Next(']'); {
		list = append(list, s.Int())
	}
	return list
}

// Bool reads true or false.
func (s *Scanner) Bool() bool {
	if s.peek() == 't' {
		return s.word("true")
	}
	s.word("false")
	return false
}

// Is reports whether the next value begins with c, which identifies the kind of the
// value.
func (s *Scanner) Is(c byte) bool { return s.peek() == c }

// Null reads null.
func (s *Scanner) Null() { s.word("null") }

func (s *Scanner) word(w string) bool {
	if s.peek() != w[0] || len(s.doc)-s.at < len(w) || string(s.doc[s.at:s.at+len(w)]) != w {
		s.bad = true
		return false
	}
	s.at += len(w)
	return true
}

// take consumes c, after white space.
func (s *Scanner) take(c byte) bool {
	if s.peek() != c {
		s.bad = true
		return false
	}
	s.at++
	return true
}

// peek returns the next character that is not white space. It returns 0 at the end, and
// if the Scanner has failed.
func (s *Scanner) peek() byte {
	if s.bad {
		return 0
	}
	for ; s.at < len(s.doc); s.at++ {
		switch c := s.doc[s.at]; c {
		case ' ', '\n', '\t', '\r':
		default:
			return c
		}
	}
	return 0
}
