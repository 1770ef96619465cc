package inspect

import (
	"math"

	"github.com/go-orbax/orbax/internal/layout"
)

// finite returns a value of custom metadata with the numbers that JSON does not
// have, which Python writes nonetheless, as strings.
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

// jsonValues is a value of custom metadata or metrics. In a document of --json it is as
// finite makes it.
type Values struct{ V any }

func (j Values) MarshalJSON() ([]byte, error) { return layout.EncodeJSON(finite(j.V)) }

// IsEmpty reports whether there is nothing to print.
func (j Values) IsEmpty() bool {
	members, ok := j.V.(map[string]any)
	return j.V == nil || ok && len(members) == 0
}

// OneLine returns the value in a line of at most n characters, abridged if it is longer:
// as JSON with the words NaN and Infinity, which Python writes and no string looks like.
func (j Values) OneLine(n int) string {
	doc, err := layout.EncodeNumbers(j.V)
	if err != nil {
		return "?" // what was parsed from JSON can be encoded again
	}
	if text := []rune(string(doc)); len(text) > n {
		return string(text[:n-3]) + "..."
	}
	return string(doc)
}

// nonFinite returns what stands in a JSON document for a number that JSON does
// not have, or "".
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
