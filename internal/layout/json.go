package layout

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
)

// EncodeJSON returns v as one line of JSON, without the escapes for HTML.
func EncodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// DecodeJSON decodes a document as Python's json module does: integers become
// int (or float64 if they do not fit), other numbers float64, and the bare
// words NaN, Infinity and -Infinity, which Python writes, are numbers.
func DecodeJSON(doc []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(quoteNonFinite(doc)))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("%w: invalid JSON: %v", fault.Corrupt, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("%w: invalid JSON: data after the value", fault.Corrupt)
	}
	return pythonNumbers(v), nil
}

// nonFinite marks the strings that stand for NaN and the infinities between
// quoteNonFinite and pythonNumbers. JSON text cannot contain it unescaped.
const nonFinite = "\x7f\x7fnonfinite "

// quoteNonFinite turns the bare words into marked strings.
func quoteNonFinite(doc []byte) []byte {
	if !bytes.Contains(doc, []byte("NaN")) && !bytes.Contains(doc, []byte("Infinity")) {
		return doc
	}
	var out bytes.Buffer
	inString := false
	for i := 0; i < len(doc); i++ {
		c := doc[i]
		if inString {
			out.WriteByte(c)
			if c == '\\' && i+1 < len(doc) {
				i++
				out.WriteByte(doc[i])
			} else if c == '"' {
				inString = false
			}
			continue
		}
		if word := nonFiniteWord(doc[i:]); word != "" {
			fmt.Fprintf(&out, "%q", nonFinite+word)
			i += len(word) - 1
			continue
		}
		inString = c == '"'
		out.WriteByte(c)
	}
	return out.Bytes()
}

func nonFiniteWord(b []byte) string {
	for _, w := range []string{"NaN", "Infinity", "-Infinity"} {
		if bytes.HasPrefix(b, []byte(w)) {
			return w
		}
	}
	return ""
}

func pythonNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = pythonNumbers(v[k])
		}
	case []any:
		for i := range v {
			v[i] = pythonNumbers(v[i])
		}
	case json.Number:
		if i, err := v.Int64(); err == nil && int64(int(i)) == i {
			return int(i)
		}
		f, _ := v.Float64() // out of range: ±Inf, as Python reads it
		return f
	case string:
		if word, ok := strings.CutPrefix(v, nonFinite); ok {
			switch word {
			case "NaN":
				return math.NaN()
			case "Infinity":
				return math.Inf(1)
			case "-Infinity":
				return math.Inf(-1)
			}
		}
	}
	return v
}
