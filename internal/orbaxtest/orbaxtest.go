// Package orbaxtest has what tests of several packages need. It imports no package that
// loads or saves, so that the tests of all of them can use it.
package orbaxtest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/go-orbax/orbax/array"
)

// Must ends the test if err is not nil.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Same reports whether two trees, as Load returns them, are the same bit for bit: their
// arrays with dtypes, generators and shardings.
func Same(a, b any) bool { return Difference(a, b) == "" }

// Difference returns where two trees differ first, and how: "" if they are the [Same].
func Difference(got, want any) string { return difference("", got, want) }

func difference(at string, got, want any) string {
	switch g := got.(type) {
	case map[string]any:
		if w, ok := want.(map[string]any); ok {
			keys := slices.Sorted(maps.Keys(g))
			if others := slices.Sorted(maps.Keys(w)); !slices.Equal(keys, others) {
				return fmt.Sprintf("at %q: got keys %q, want %q", at, keys, others)
			}
			for _, k := range keys {
				if d := difference(at+"."+k, g[k], w[k]); d != "" {
					return d
				}
			}
			return ""
		}
	case []any:
		if w, ok := want.([]any); ok {
			if len(g) != len(w) {
				return fmt.Sprintf("at %q: got %d elements, want %d", at, len(g), len(w))
			}
			for i := range g {
				if d := difference(fmt.Sprintf("%s.%d", at, i), g[i], w[i]); d != "" {
					return d
				}
			}
			return ""
		}
	case *array.Array:
		if w, ok := want.(*array.Array); ok && g.Equal(w) && g.PRNGImpl() == w.PRNGImpl() && reflect.DeepEqual(g.Sharding(), w.Sharding()) {
			return ""
		}
	default:
		if reflect.DeepEqual(got, want) {
			return ""
		}
	}
	return fmt.Sprintf("at %q: got %T %v, want %T %v", at, got, got, want, want)
}
