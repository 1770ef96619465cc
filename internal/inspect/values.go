package inspect

import (
	"math"

	"github.com/go-orbax/orbax/internal/layout"
)

// finite returns custom metadata with strings in place of the numbers that JSON does not
// have, which Python writes nonetheless.
func finite(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = finite(e)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = finite(e)
		}
		return l
	case float64:
		if s := nonFinite(v); s != "" {
			return s
		}
	}
	return v
}

// Values holds custom metadata or metrics. In a document of --json, numbers that JSON
// does not have are strings.
type Values struct{ V any }

func (j Values) MarshalJSON() ([]byte, error) { return layout.EncodeJSON(finite(j.V)) }

// IsEmpty reports whether there is nothing to print.
func (j Values) IsEmpty() bool {
	members, ok := j.V.(map[string]any)
	return j.V == nil || ok && len(members) == 0
}

// OneLine returns the value as JSON in one line. It abridges the line to n characters if
// it is longer. Numbers that JSON does not have are the words NaN and Infinity, as Python
// writes them; no string looks like them.
func (j Values) OneLine(n int) string {
	doc, err := layout.EncodeNumbers(j.V)
	if err != nil {
		return "?" // not reached: a value that was parsed from JSON can be encoded again
	}
	if text := []rune(string(doc)); len(text) > n {
		return string(text[:n-3]) + "..."
	}
	return string(doc)
}

// nonFinite returns the text that a JSON document has in place of a number that JSON does
// not have. It returns "" for all other numbers.
func nonFinite(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return ""
}
