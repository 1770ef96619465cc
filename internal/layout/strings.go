package layout

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-orbax/orbax/internal/fault"
)

// Orbax addresses strings in _strings.json by JSON pointers "/" + parameter name, which
// it does not escape. A slash in a name therefore nests objects, and a "~" that does not
// begin "~0" or "~1" cannot be written.

// CheckStringName refuses the name of a string leaf that Orbax could not read under the
// same name.
func CheckStringName(name string) error {
	if strings.Contains(name, "~") {
		return fmt.Errorf("%w: %q: Orbax cannot address a string whose name has a ~", fault.ErrReservedName, name)
	}
	return nil
}

// StringsDocument returns _strings.json for string leaves, by parameter name. It refuses
// a name that is a prefix of another name up to a slash.
func StringsDocument(values map[string]string) ([]byte, error) {
	root := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		parts := strings.Split(name, "/")
		if len(parts) > MaxJSONDepth {
			return nil, &fault.Leaf{Path: name, Err: fmt.Errorf("%w: the name of a string may have at most %d slashes: Orbax makes an object of each", fault.ErrReservedName, MaxJSONDepth-1)}
		}
		at := root
		for i, p := range parts[:len(parts)-1] {
			next, ok := at[p].(map[string]any)
			if !ok {
				if at[p] != nil {
					return nil, &fault.Leaf{Path: name, Err: fmt.Errorf("%w: Orbax cannot hold strings named both %q and %q",
						fault.ErrKeyCollision, strings.Join(parts[:i+1], "/"), name)}
				}
				next = map[string]any{}
				at[p] = next
			}
			at = next
		}
		last := parts[len(parts)-1]
		if at[last] != nil {
			return nil, &fault.Leaf{Path: name, Err: fmt.Errorf("%w: Orbax cannot hold strings named both %q and one below it", fault.ErrKeyCollision, name)}
		}
		at[last] = values[name]
	}
	return EncodeJSON(root)
}

// Strings is a parsed _strings.json.
type Strings struct{ root map[string]any }

// ParseStrings parses _strings.json.
func ParseStrings(doc []byte) (*Strings, error) {
	var s Strings
	if err := unmarshal(doc, &s.root); err != nil {
		return nil, fmt.Errorf("%w: %s: %v", fault.ErrCorrupt, StringsFile, err)
	}
	return &s, nil
}

// Get returns the string leaf called name.
func (s *Strings) Get(name string) (string, bool) {
	var at any = s.root
	for p := range strings.SplitSeq(name, "/") {
		m, ok := at.(map[string]any)
		if !ok {
			return "", false
		}
		at = m[strings.ReplaceAll(strings.ReplaceAll(p, "~1", "/"), "~0", "~")]
	}
	v, ok := at.(string)
	return v, ok
}
