package sharding

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/go-orbax/orbax/internal/fault"
)

// ParseFile reads a _sharding document: a JSON object from the URL-safe base64
// of a parameter's name, padded, to the JSON text of its sharding. It returns
// the shardings by name; leaves with equal ones share them.
//
// A sharding_type that is neither SingleDeviceSharding nor NamedSharding, and an
// axis type that is not one of the three, makes a Sharding that keeps the text
// in Raw. Unknown members of the known kinds are ignored, as Orbax ignores them.
// Any other fault is an error that matches ErrCorrupt and names the parameter.
func ParseFile(data []byte) (map[string]*Sharding, error) {
	var texts map[string]*string
	if err := json.Unmarshal(data, &texts); err != nil {
		return nil, fmt.Errorf("%w: _sharding document: %v", fault.ErrCorrupt, err)
	}
	if texts == nil {
		return nil, fmt.Errorf("%w: _sharding document: null instead of an object", fault.ErrCorrupt)
	}
	out := make(map[string]*Sharding, len(texts))
	parsed := map[string]*Sharding{} // most leaves of a tree have the same few
	for key, text := range texts {
		name, err := base64.URLEncoding.Strict().DecodeString(key)
		if err != nil || !utf8.Valid(name) {
			return nil, fmt.Errorf("%w: _sharding document: key %q is not the URL-safe base64 of a name", fault.ErrCorrupt, key)
		}
		if text == nil {
			return nil, fmt.Errorf("%w: _sharding document: %s: null instead of a string", fault.ErrCorrupt, name)
		}
		s := parsed[*text]
		if s == nil {
			if s, err = parse(*text); err != nil {
				return nil, fmt.Errorf("_sharding document: %s: %w", name, err)
			}
			parsed[*text] = s
		}
		out[string(name)] = s
	}
	return out, nil
}

// MarshalFile returns the _sharding document of the shardings, by parameter
// name: compact, with sorted keys, byte for byte what Orbax writes. It fails
// if a sharding is not valid or a name is not UTF-8.
func MarshalFile(shardings map[string]*Sharding) ([]byte, error) {
	texts := make(map[string]string, len(shardings))
	for name, s := range shardings {
		if !utf8.ValidString(name) {
			return nil, fmt.Errorf("%w: parameter name %q is not UTF-8", fault.ErrReservedName, name)
		}
		text, err := s.Marshal()
		if err != nil {
			return nil, fmt.Errorf("sharding of %s: %w", name, err)
		}
		texts[base64.URLEncoding.EncodeToString([]byte(name))] = text
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	b.WriteByte('{')
	for i, key := range slices.Sorted(maps.Keys(texts)) {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q:", key)
		if err := enc.Encode(texts[key]); err != nil {
			return nil, fmt.Errorf("sharding of %s: %w", key, err)
		}
		b.Truncate(b.Len() - 1) // the encoder ends a value with a newline
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
