package layout

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
)

// ArrayMetadata is a jax.Array's entry in array_metadatas/process_<i>.
type ArrayMetadata struct {
	Name       string
	WriteShape []int
	ChunkShape []int
	PRNGImpl   string // generator of typed PRNG keys, or ""
}

// ArraysDocument returns array_metadatas/process_0.
func ArraysDocument(arrays []ArrayMetadata) []byte {
	b := make([]byte, 0, 160*(1+len(arrays)))
	b = append(b, `{"array_metadatas":[`...)
	for i, a := range arrays {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"array_metadata":{"param_name":`...)
		b = appendString(b, a.Name)
		b = append(b, `,"write_shape":`...)
		b = appendInts(b, a.WriteShape, ",")
		b = append(b, `,"chunk_shape":`...)
		b = appendInts(b, a.ChunkShape, ",")
		b = append(b, `,"ext_metadata":`...)
		if a.PRNGImpl == "" {
			b = append(b, `null}}`...)
			continue
		}
		b = append(b, `{"random_key_impl":`...)
		b = appendString(b, a.PRNGImpl)
		b = append(b, `}}}`...)
	}
	return append(b, `]}`...)
}

// ParseArrays parses array_metadatas/process_<i>, keyed by parameter name.
func ParseArrays(doc []byte) (map[string]ArrayMetadata, error) {
	if m, ok := scanArrays(doc); ok {
		return m, nil
	}
	return decodeArrays(doc)
}

// scanArrays parses a document of the form that Orbax and this package write. It reports
// whether the document has that form.
func scanArrays(doc []byte) (m map[string]ArrayMetadata, ok bool) {
	s := newScanner(doc)
	m = make(map[string]ArrayMetadata, len(doc)/entryBytes)
	var a ArrayMetadata
	s.only("array_metadatas", func() {
		for s.Begin('['); s.Next(']'); {
			s.only("array_metadata", func() {
				a = s.array(a)
				m[a.Name] = a
			})
		}
	})
	return m, s.Done()
}

// array reads the next entry. It shares the shapes of last if they are equal.
func (s *scanner) array(last ArrayMetadata) (a ArrayMetadata) {
	var seen members
	for s.Begin('{'); s.Next('}'); {
		switch string(s.Name()) {
		case "param_name":
			s.once(&seen, 1)
			a.Name = string(s.Text())
		case "write_shape":
			s.once(&seen, 2)
			a.WriteShape = s.shape(last.WriteShape)
		case "chunk_shape":
			s.once(&seen, 4)
			a.ChunkShape = s.shape(last.ChunkShape)
		case "ext_metadata":
			s.once(&seen, 8)
			if s.Is('n') {
				s.Null()
				continue
			}
			s.only("random_key_impl", func() { a.PRNGImpl = string(s.Text()) })
		default:
			s.Fail()
		}
	}
	return a
}

// decodeArrays parses any valid document.
func decodeArrays(doc []byte) (map[string]ArrayMetadata, error) {
	var d struct {
		Arrays arrayList `json:"array_metadatas"`
	}
	if err := unmarshal(doc, &d); err != nil {
		return nil, fmt.Errorf("%w: array_metadatas: %v", fault.ErrCorrupt, err)
	}
	if d.Arrays == nil {
		d.Arrays = arrayList{}
	}
	return d.Arrays, nil
}

// arrayList holds the entries of a list by their names. It decodes them one after the
// other, because an entry can be a hundred times as large as its text.
type arrayList map[string]ArrayMetadata

// UnmarshalJSON decodes the list. It implements [json.Unmarshaler].
func (l *arrayList) UnmarshalJSON(text []byte) error {
	*l = arrayList{}
	if string(text) == "null" {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if open, err := d.Token(); err != nil || open != json.Delim('[') {
		return errors.New("the member array_metadatas is no list")
	}
	for d.More() {
		var e struct {
			Array struct {
				Name       string `json:"param_name"`
				WriteShape []int  `json:"write_shape"`
				ChunkShape []int  `json:"chunk_shape"`
				Ext        *struct {
					PRNGImpl string `json:"random_key_impl"`
				} `json:"ext_metadata"`
			} `json:"array_metadata"`
		}
		if err := d.Decode(&e); err != nil {
			return err
		}
		a := ArrayMetadata{Name: e.Array.Name, WriteShape: e.Array.WriteShape, ChunkShape: e.Array.ChunkShape}
		if e.Array.Ext != nil {
			a.PRNGImpl = e.Array.Ext.PRNGImpl
		}
		(*l)[a.Name] = a
	}
	return nil
}
