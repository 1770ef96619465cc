package sharding

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/jsonscan"
)

// ParseFile parses a _sharding document and returns the shardings by the name of the
// parameter. The document is a JSON object. Its keys are the names in padded URL-safe
// base64, and its values are the JSON texts of the shardings. Leaves with equal shardings
// share one Sharding.
//
// If the sharding_type is neither SingleDeviceSharding nor NamedSharding, or an axis type
// is not one of the three, the Sharding keeps the text in Raw. Unknown members of the two
// known types are ignored, as Orbax ignores them. Any other fault is an error that
// matches orbax.ErrCorrupt and names the parameter.
func ParseFile(data []byte) (map[string]*Sharding, error) {
	if shardings, ok := scanFile(data); ok {
		return shardings, nil
	}
	return decodeFile(data)
}

// entryBytes is less than the usual size of an entry in a document.
const entryBytes = 96

// scanFile parses a document without faults, at a fraction of the cost of decodeFile.
// Most leaves of a tree have one of a few shardings, so that looking up the text of the
// sharding is most of the work.
func scanFile(data []byte) (shardings map[string]*Sharding, ok bool) {
	s := jsonscan.New(data)
	shardings = make(map[string]*Sharding, len(data)/entryBytes)
	parsed := map[string]*Sharding{} // indexed by their text as the document spells it
	var name []byte
	for s.Begin('{'); s.Next('}'); {
		var err error
		if name, err = nameEncoding.AppendDecode(name[:0], s.Name()); err != nil || !utf8.Valid(name) {
			return nil, false
		}
		spelled := s.Literal()
		of := parsed[string(spelled)]
		if of == nil {
			var text string
			if json.Unmarshal(spelled, &text) != nil {
				return nil, false
			}
			if of, err = parse(text); err != nil {
				return nil, false
			}
			parsed[string(spelled)] = of
		}
		shardings[string(name)] = of
	}
	return shardings, s.Done()
}

// nameEncoding is the encoding of the names of parameters in a document.
var nameEncoding = base64.URLEncoding.Strict()

// decodeFile parses any valid document, and reports the fault of one that is not valid.
func decodeFile(data []byte) (map[string]*Sharding, error) {
	var texts map[string]*string
	if err := json.Unmarshal(data, &texts); err != nil {
		return nil, fmt.Errorf("%w: _sharding document: %v", fault.ErrCorrupt, err)
	}
	if texts == nil {
		return nil, fmt.Errorf("%w: _sharding document: null instead of an object", fault.ErrCorrupt)
	}
	out := make(map[string]*Sharding, len(texts))
	parsed := map[string]*Sharding{}
	for key, text := range texts {
		name, err := nameEncoding.DecodeString(key)
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

// MarshalFile returns the _sharding document for shardings, which are indexed by the name
// of the parameter. The document is compact, with sorted keys, and equals the one that
// Orbax writes byte for byte. MarshalFile fails if a sharding is not valid or a name is
// not UTF-8.
func MarshalFile(shardings map[string]*Sharding) ([]byte, error) {
	type entry struct {
		key  string
		text []byte
	}
	entries := make([]entry, 0, len(shardings))
	texts := map[*Sharding][]byte{} // encoded as JSON strings
	size := 2
	for name, s := range shardings {
		if !utf8.ValidString(name) {
			return nil, fmt.Errorf("%w: parameter name %q is not UTF-8", fault.ErrReservedName, name)
		}
		text := texts[s]
		if text == nil {
			var err error
			if text, err = marshalText(s); err != nil {
				return nil, fmt.Errorf("sharding of %s: %w", name, err)
			}
			texts[s] = text
		}
		e := entry{base64.URLEncoding.EncodeToString([]byte(name)), text}
		entries = append(entries, e)
		size += len(e.key) + len(text) + len(`"":,`)
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	b := append(make([]byte, 0, size), '{')
	for i, e := range entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = append(b, e.key...)
		b = append(b, `":`...)
		b = append(b, e.text...)
	}
	return append(b, '}'), nil
}

// marshalText returns the text of a sharding as a JSON string.
func marshalText(s *Sharding) ([]byte, error) {
	text, err := s.Marshal()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(text); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
