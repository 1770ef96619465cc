package layout

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/go-orbax/orbax/internal/fault"
)

// EncodeJSON returns v as one line of JSON, without the escapes for HTML. It writes the
// float -0 as -0.0, because readers take -0 for the integer 0.
func EncodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return floatZeros(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// appendString appends s, which is valid UTF-8, in the encoding of EncodeJSON.
func appendString[S string | []byte](b []byte, s S) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			enc, _ := EncodeJSON(string(s)) // strings always encode
			return append(b, enc...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// appendInts appends a list of integers.
func appendInts(b []byte, list []int, separator string) []byte {
	b = append(b, '[')
	for i, n := range list {
		if i > 0 {
			b = append(b, separator...)
		}
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return append(b, ']')
}

// DecodeJSON decodes a document as Python's json module does. Integers become int, or
// uint64 or *big.Int if they do not fit. Other numbers, and -0, become float64. The bare
// words NaN, Infinity and -Infinity, which Python writes, are numbers.
func DecodeJSON(doc []byte) (any, error) {
	v, err := decodeNumbers(doc)
	return pythonNumbers(v), err
}

// decodeNumbers is DecodeJSON that leaves all numbers as json.Number.
func decodeNumbers(doc []byte) (any, error) {
	if !utf8.Valid(doc) {
		return nil, fmt.Errorf("%w: invalid JSON: not UTF-8", fault.ErrCorrupt)
	}
	dec := json.NewDecoder(bytes.NewReader(SpellWords(doc)))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("%w: invalid JSON: %v", fault.ErrCorrupt, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("%w: invalid JSON: data after the value", fault.ErrCorrupt)
	}
	return v, nil
}

// unmarshal is json.Unmarshal that refuses documents that are not UTF-8. Package json
// would replace the invalid bytes.
func unmarshal(doc []byte, v any) error {
	if !utf8.Valid(doc) {
		return errors.New("invalid JSON: not UTF-8")
	}
	return json.Unmarshal(doc, v)
}

// SpellWords replaces Python's bare words in a document by numbers that JSON can spell.
// [WordsIn] turns these into floats. If the document itself contains a number with that
// spelling, SpellWords gives it another spelling of the same number.
func SpellWords(doc []byte) []byte {
	if !bytes.Contains(doc, []byte("NaN")) && !bytes.Contains(doc, []byte("Infinity")) && !bytes.Contains(doc, []byte(nan)) {
		return doc
	}
	var out []byte
	inString := false
	for i := 0; i < len(doc); i++ {
		c := doc[i]
		if inString {
			out = append(out, c)
			if c == '\\' && i+1 < len(doc) {
				i++
				out = append(out, doc[i])
			} else if c == '"' {
				inString = false
			}
			continue
		}
		// The spaces separate the word from an adjacent number, which is a mistake.
		switch rest := doc[i:]; {
		case bytes.HasPrefix(rest, []byte("NaN")):
			out = append(out, " "+nan+" "...)
			i += len("NaN") - 1
		case bytes.HasPrefix(rest, []byte("Infinity")):
			out = append(out, " "+infinity+" "...)
			i += len("Infinity") - 1
		case bytes.HasPrefix(rest, []byte("-Infinity")):
			out = append(out, " -"+infinity+" "...)
			i += len("-Infinity") - 1
		case bytes.HasPrefix(rest, []byte(nan)) && !inNumber(doc, i-1) && !inNumber(doc, i+len(nan)):
			out = append(out, "0.0"...)
			i += len(nan) - 1
		default:
			inString = c == '"'
			out = append(out, c)
		}
	}
	return out
}

// inNumber reports whether the byte at i belongs to a number, apart from its sign.
func inNumber(doc []byte, i int) bool {
	return i >= 0 && i < len(doc) && (doc[i] == '.' || '0' <= doc[i] && doc[i] <= '9')
}

// The spellings of the words: a number out of range, and a zero that no encoder writes in
// this form.
const (
	infinity = "1e999"
	nan      = "0e-7370001"
)
