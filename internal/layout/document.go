package layout

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-orbax/orbax/internal/fault"
)

// These are the limits for the JSON of a program: custom metadata, metrics, JSON
// checkpointables. Python's parser takes a thousand levels, fewer inside nested calls,
// and 4,300 digits; Go's takes ten thousand levels.
const (
	MaxJSONDepth  = 512
	maxJSONDigits = 4300
)

// EncodeDocument encodes a value like [EncodeJSON], and refuses it if a reader, here or
// in Python, would get another value. Package json replaces strings that are not UTF-8;
// EncodeDocument refuses them. It also refuses two members with one name, numbers that no
// reader takes, and values that are nested too deep. Every error matches
// orbax.ErrLeafType.
func EncodeDocument(v any) ([]byte, error) { return encodeDocument(v, EncodeJSON) }

// EncodePython is [EncodeDocument] for custom metadata and metrics. Like [EncodeNumbers]
// it accepts NaN and the infinities.
func EncodePython(v any) ([]byte, error) { return encodeDocument(v, EncodeNumbers) }

func encodeDocument(v any, encode func(any) ([]byte, error)) ([]byte, error) {
	doc, err := encode(v)
	if err == nil {
		err = checkDocument(doc)
	}
	// The encoder writes this escape for bytes that are not UTF-8. It writes U+FFFD
	// itself unescaped.
	if err == nil && bytes.Contains(doc, []byte(`\ufffd`)) {
		err = checkStrings(reflect.ValueOf(v))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: not JSON that can be loaded: %w", fault.ErrLeafType, err)
	}
	return doc, nil
}

// checkDocument refuses a document, in JSON or with the words that Python writes, that a
// reader would read as something else.
func checkDocument(doc []byte) error {
	if len(doc) == 0 {
		return io.ErrUnexpectedEOF
	}
	if !utf8.Valid(doc) {
		return errors.New("a string is not UTF-8")
	}
	if err := CheckExact(doc); err != nil {
		return err
	}
	type container struct {
		object bool
		names  map[string]bool
		value  bool // in an object: a name has been read, and its value comes next
	}
	dec := json.NewDecoder(bytes.NewReader(SpellWords(doc)))
	dec.UseNumber()
	var open []container
	for {
		token, err := dec.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var in *container
		if len(open) > 0 {
			in = &open[len(open)-1]
		}
		if name, ok := token.(string); ok && in != nil && in.object && !in.value {
			if in.names[name] {
				return fmt.Errorf("two members of an object are called %q", name)
			}
			in.names[name], in.value = true, true
			continue
		}
		switch t := token.(type) {
		case json.Delim:
			if t == '}' || t == ']' {
				open = open[:len(open)-1]
				continue
			}
			if in != nil {
				in.value = false
			}
			open = append(open, container{object: t == '{', names: map[string]bool{}})
			if len(open) > MaxJSONDepth {
				return fmt.Errorf("nested more than %d levels deep", MaxJSONDepth)
			}
			continue
		case json.Number:
			if err := checkNumber(t); err != nil {
				return err
			}
		}
		if in != nil {
			in.value = false
		}
	}
}

func checkNumber(n json.Number) error {
	if n == nan || n == infinity || n == "-"+infinity {
		return nil
	}
	if !strings.ContainsAny(string(n), ".eE") {
		if digits := len(strings.TrimPrefix(string(n), "-")); digits > maxJSONDigits {
			return fmt.Errorf("an integer of %d digits, more than the %d that Python reads", digits, maxJSONDigits)
		}
		return nil
	}
	if _, err := strconv.ParseFloat(string(n), 64); err != nil {
		return fmt.Errorf("the number %.40s is out of the range of float64", n)
	}
	return nil
}

// checkStrings refuses strings that are not UTF-8 in a value that package json has
// encoded. It looks at all exported fields, which may be more than were encoded.
func checkStrings(v reflect.Value) error {
	if !v.IsValid() {
		return nil
	}
	t := v.Type()
	switch k := t.Kind(); {
	case k != reflect.Interface && (t.Implements(jsonMarshaler) || reflect.PointerTo(t).Implements(jsonMarshaler)):
		return nil // its text is encoded unchanged
	case k != reflect.Interface && t.Implements(textMarshaler):
		if k == reflect.Pointer && v.IsNil() || !v.CanInterface() {
			return nil
		}
		text, err := v.Interface().(encoding.TextMarshaler).MarshalText()
		return errors.Join(err, checkText(string(text)))
	}
	switch t.Kind() {
	case reflect.String:
		return checkText(v.String())
	case reflect.Interface, reflect.Pointer:
		return checkStrings(v.Elem())
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if err := errors.Join(checkStrings(it.Key()), checkStrings(it.Value())); err != nil {
				return err
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := checkStrings(v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if !f.IsExported() && !f.Anonymous || f.Tag.Get("json") == "-" {
				continue
			}
			if err := checkStrings(v.Field(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkText(s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("the string %.80q is not UTF-8", s)
	}
	return nil
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// floatZeros turns -0, which package json writes for a float, into -0.0. Readers would
// take -0 for the integer 0.
func floatZeros(doc []byte) []byte {
	if !bytes.Contains(doc, []byte("-0")) {
		return doc
	}
	out := make([]byte, 0, len(doc)+16)
	inString := false
	for i := 0; i < len(doc); i++ {
		c := doc[i]
		out = append(out, c)
		switch {
		case inString && c == '\\' && i+1 < len(doc):
			i++
			out = append(out, doc[i])
		case c == '"':
			inString = !inString
		case !inString && c == '0' && i > 0 && doc[i-1] == '-' && !continues(doc[i+1:]) && !isExponent(doc, i-1):
			out = append(out, ".0"...)
		}
	}
	return out
}

// continues reports whether rest continues a number.
func continues(rest []byte) bool {
	return len(rest) > 0 && (rest[0] == '.' || rest[0] == 'e' || rest[0] == 'E' || '0' <= rest[0] && rest[0] <= '9')
}

// isExponent reports whether the sign at i is the sign of an exponent.
func isExponent(doc []byte, i int) bool {
	return i > 0 && (doc[i-1] == 'e' || doc[i-1] == 'E')
}
